// Whether a plan's weights may be kept in half precision: decided by what that does to a picture.
#pragma once

#include "mimo_rt/plan.hpp"

namespace mimo_rt::cpu {

// The root mean square difference (of values in 0..1) that moves the PSNR of a picture restored to 40 dB,
// which is better than photographs are deblurred, by 0.01 dB: 1e-4 (10^0.001 - 1), and its root.
inline constexpr double kMostHalfWeightsError = 4.8e-4;

// Root mean square difference between the outputs of two plans for one graph on a picture of edges and grain
// made here, 96 x 96, values 0..1. Not a number where an output is none, or where the graph cannot take that
// size.
double difference_on_picture(const Plan& a, const Plan& b);

// Changes the tactics of the plan to those with weights in half precision, which halves most of what its
// weights take, unless that moves the outputs by more than kMostHalfWeightsError. Returns whether it did.
bool take_half_weights(Plan& plan);

}  // namespace mimo_rt::cpu

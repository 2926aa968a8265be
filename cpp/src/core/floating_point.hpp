// Default floating-point environment (round to nearest, denormals kept) for a scope: what numbers are made
// must not depend on what the caller has set.
#pragma once

#include <cfenv>

namespace mimo_rt {

class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatingPoint() { std::fesetenv(&saved_); }
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  std::fenv_t saved_{};
};

}  // namespace mimo_rt

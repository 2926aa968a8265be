// Deblurs a binary PPM: deblur MODEL IN.ppm OUT.ppm, where MODEL is an ONNX file or a plan (*.plan).
#include <fstream>
#include <iostream>
#include <mimo_rt/deblurrer.hpp>
#include <mimo_rt/error.hpp>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 4) throw std::invalid_argument("usage: deblur MODEL IN.ppm OUT.ppm");
  const std::filesystem::path model = argv[1];
  std::ifstream in(argv[2], std::ios::binary);
  std::string magic;
  std::int64_t width = 0, height = 0, largest = 0;
  in >> magic >> width >> height >> largest;
  in.ignore(1);
  if (!in || magic != "P6" || largest != 255 || width < 1 || width > 65536 || height < 1 || height > 65536)
    throw std::invalid_argument("the input is not an 8-bit binary PPM");
  std::vector<char> blurred(3 * width * height), sharp(blurred.size());
  if (!in.read(blurred.data(), 3 * width * height)) throw std::invalid_argument("the input ends too early");

  const auto view = [&]<typename Byte>(Byte* pixels) {  // rows, pixels and channels one after another
    return mimo_rt::BasicImageView<Byte>{pixels, mimo_rt::PixelType::u8, height, width, 3, 3 * width, 3, 1};
  };
  mimo_rt::Deblurrer deblurrer(model.extension() == ".plan" ? mimo_rt::Engine::load(model)
                                                            : mimo_rt::Engine::build(model));
  deblurrer.run(view(reinterpret_cast<const std::byte*>(blurred.data())),
                view(reinterpret_cast<std::byte*>(sharp.data())));

  std::ofstream out(argv[3], std::ios::binary);
  out << "P6\n" << width << ' ' << height << "\n255\n";
  out.write(sharp.data(), 3 * width * height);
  if (!out.flush()) throw std::runtime_error("the output cannot be written");
} catch (const mimo_rt::Error& error) {  // each has a stable code for programs and a sentence for people
  std::cerr << error.code() << ": " << error.what() << '\n';
  return 3;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}

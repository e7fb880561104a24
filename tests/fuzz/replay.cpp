// The main of a fuzz target in builds without libFuzzer: each file named, or lying in a folder
// named, is given to the target once. The empty input always is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void replay(const std::filesystem::path& path) {
  // Before it runs, for a finding ends the program.
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  // A copy of its own size, so that AddressSanitizer sees a read behind the end.
  const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

}  // namespace

int main(int argument_count, char** arguments) {
  std::vector<std::filesystem::path> paths;
  for (int i = 1; i < argument_count; ++i) {
    const std::filesystem::path named(arguments[i]);
    if (std::filesystem::is_directory(named)) {
      for (const auto& each : std::filesystem::directory_iterator(named)) {
        paths.push_back(each.path());
      }
    } else if (std::filesystem::exists(named)) {
      paths.push_back(named);
    } else {
      std::fprintf(stderr, "%s is not there\n", arguments[i]);
      return 2;
    }
  }
  std::sort(paths.begin(), paths.end());
  LLVMFuzzerTestOneInput(nullptr, 0);
  for (const auto& each : paths) replay(each);
  std::printf("replayed %zu inputs\n", paths.size() + 1);
  return 0;
}

// What a name and a service stand for: the addresses and ports to which a client would connect, in
// the order in which it would try them.
//
//   build/release/bin/resolve_name localhost 8888       [::1]:8888
//                                                       127.0.0.1:8888
//   build/release/bin/resolve_name example.org https    whatever the name servers say
//   build/release/bin/resolve_name no.such.invalid 80
//     resolve_name: resolve no.such.invalid: name not found
#include <string>
#include <vector>

#include "program.h"
#include <rill/net/resolver.h>
#include <rill/runtime/run.h>

namespace {

struct options {
  std::string host;
  std::string service;
  std::string kernel = "auto";
};

rill::task<> resolve_name(const options& chosen) {
  const std::vector<rill::endpoint> found = co_await rill::resolve(chosen.host, chosen.service);
  std::string lines;
  for (const rill::endpoint& each : found) lines += each.to_string() + '\n';
  program::print(lines);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Prints the endpoints that HOST and SERVICE stand for.");
  app.add_option("HOST", chosen.host, "name or address")->required();
  app.add_option("SERVICE", chosen.service, "port number or service name")->required();
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, resolve_name, std::cref(chosen));
}

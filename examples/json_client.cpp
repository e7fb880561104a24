// Fetches JSON and posts JSON with the client of protocols/http: connections, redirects, compressed
// bodies and time limits are its business.
//
//   build/release/bin/http_server                    (in another terminal)
//   build/release/bin/json_client http://localhost:8080/json http://localhost:8080/echo
//     Status Code: 200
//     Headers: ...
//     Content: {"message":"Hello, World!"}
//     POST Response: {"name":"rill","type":"library"}
#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

#include "program.h"
#include <rill/protocols/http/client.h>
#include <rill/runtime/run.h>

namespace {

namespace http = rill::http;

struct options {
  std::string get_url;
  std::string post_url;
  std::string kernel = "auto";
};

rill::task<> json_client(const options& chosen) {
  http::client client;
  try {
    const http::client_response got = co_await client.get(chosen.get_url);
    std::printf("Status Code: %d\n", got.status());
    std::printf("Headers: %s\n", std::string(got.head_text()).c_str());
    std::printf("Content: %s\n", nlohmann::json::parse(got.text()).dump().c_str());

    const nlohmann::json data = {{"name", "rill"}, {"type", "library"}};
    const http::client_response answer =
        co_await client.post(chosen.post_url, http::request_body::json(data.dump()));
    std::printf("POST Response: %s\n", nlohmann::json::parse(answer.text()).dump().c_str());
  } catch (const http::client_error& error) {  // no answer; a 404 would be one
    std::printf("HTTP Error: %s\n", error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Fetches JSON from GET_URL, posts some to POST_URL, and prints both answers.");
  app.add_option("GET_URL", chosen.get_url, "what to fetch")->required();
  app.add_option("POST_URL", chosen.post_url, "where to post")->required();
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, json_client, std::cref(chosen));
}

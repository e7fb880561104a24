// Who may read what across origins. See cors.h.
#include <rill/protocols/http/cors.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <rill/protocols/http/fields.h>
#include <rill/protocols/http/text.h>
#include <rill/protocols/http/url.h>

namespace rill::http {
namespace {

using names = std::vector<std::string>;

std::string joined(const names& all) {
  std::string text;
  for (const std::string& each : all) text += (text.empty() ? "" : ", ") + each;
  return text;
}

bool has(const names& all, std::string_view name) {
  return std::any_of(all.begin(), all.end(),
                     [&](const std::string& each) { return equals_without_case(each, name); });
}

void check(const cors_rules& rules) {
  const auto refuse = [](const std::string& why) { throw std::invalid_argument("cors: " + why); };
  const bool is_for_all = has(rules.origins, "*");
  if (is_for_all && rules.origins.size() != 1) refuse("\"*\" stands beside other origins");
  if (is_for_all && rules.allows_credentials) refuse("\"*\" cannot be allowed credentials");
  for (const std::string& each : rules.origins) {
    const auto read = url::parse(each);
    if (!is_for_all && (!read || read->origin() != each)) refuse(each + " is no origin");
  }
  for (const names* list : {&rules.methods, &rules.fields, &rules.exposed_fields}) {
    for (const std::string& each : *list) {
      if (!detail::is_token(each)) refuse(each + " is no token");
    }
  }
}

class cors_policy {
 public:
  explicit cors_policy(cors_rules rules) : rules_(std::move(rules)) {
    check(rules_);
    methods_ = joined(rules_.methods);
    fields_ = joined(rules_.fields);
    exposed_ = joined(rules_.exposed_fields);
    is_for_all_ = has(rules_.origins, "*");
  }

  bool allows(std::string_view origin) const {
    return is_for_all_ ||
           std::find(rules_.origins.begin(), rules_.origins.end(), origin) != rules_.origins.end();
  }

  void mark(response& made, std::string_view origin) const {
    if (!is_for_all_) detail::add_vary(made, "Origin");
    if (origin.empty() || !allows(origin)) return;
    made.set("Access-Control-Allow-Origin", is_for_all_ ? "*" : origin);
    if (rules_.allows_credentials) made.set("Access-Control-Allow-Credentials", "true");
  }

  void mark_answer(response& made, std::string_view origin) const {
    mark(made, origin);
    if (!exposed_.empty() && !origin.empty() && allows(origin)) {
      made.set("Access-Control-Expose-Headers", exposed_);
    }
  }

  response answer_preflight(std::string_view origin) const {
    response made(204);
    mark(made, origin);
    if (!allows(origin)) return made;
    if (!methods_.empty()) made.set("Access-Control-Allow-Methods", methods_);
    if (!fields_.empty()) made.set("Access-Control-Allow-Headers", fields_);
    made.set("Access-Control-Max-Age", std::to_string(rules_.max_age.count()));
    return made;
  }

 private:
  cors_rules rules_;
  std::string methods_;
  std::string fields_;
  std::string exposed_;
  bool is_for_all_ = false;
};

}  // namespace

middleware cors(cors_rules rules) {
  return [policy = std::make_shared<const cors_policy>(std::move(rules))](
             request& asked, const handler& next) -> task<response> {
    const std::string_view origin = asked.find("Origin").value_or("");
    const bool is_preflight = asked.method() == "OPTIONS" && !origin.empty() &&
                              asked.find("Access-Control-Request-Method").has_value();
    if (is_preflight) co_return policy->answer_preflight(origin);
    response made = co_await next(asked);
    policy->mark_answer(made, origin);
    co_return made;
  };
}

}  // namespace rill::http

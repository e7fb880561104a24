// Connections, routing and JetStream's API of the small server. See nats_server.h.
#include <algorithm>
#include <list>
#include <optional>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include "nats/nats_server.h"
#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/protocols/nats/headers.h>
#include <rill/protocols/nats/json.h>
#include <rill/protocols/nats/packet.h>
#include <rill/protocols/nats/subject.h>
#include <rill/runtime/event.h>
#include <rill/runtime/kernel.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;
using nats::detail::number_of;
using nats::detail::text_of;
using nlohmann::json;

constexpr std::size_t output_size_max = std::size_t{4} * 1024 * 1024;

struct peer_connection {
  std::string output;
  event work;
  bool is_closing = false;
  std::map<std::string, std::string> subscriptions;  ///< by sid: the pattern
  std::map<std::string, std::uint64_t> left_counts;  ///< of subscriptions that end by count
};

struct consumer {
  std::string name;
  std::string stream;
  std::string deliver_to;
  std::string pattern;
  std::uint64_t next_sequence = 1;      ///< of the stream
  std::uint64_t consumer_sequence = 0;  ///< of the last message that was sent
  std::uint64_t last_sent = 0;          ///< its sequence in the stream
  std::chrono::nanoseconds heartbeat{0};
  std::chrono::nanoseconds inactive_threshold{0};
  loop_clock::time_point spoke_at{};
  loop_clock::time_point heard_at{};
  std::uint64_t unconfirmed_count = 0;
  std::string flow_subject;  ///< an answer to this is awaited; empty: none
};

std::string encode_base64(const std::string& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

json failure(int code, std::uint64_t number, const std::string& description) {
  return json{{"error", {{"code", code}, {"err_code", number}, {"description", description}}}};
}

class broker {
 public:
  broker(nats_store& store, nats_server_options options)
      : store_(&store), options_(std::move(options)), started_at_(loop_clock::now()) {}

  task<> session(tcp_stream peer);
  task<> tick();

 private:
  void greet(peer_connection& to, bool is_lame_duck) const;
  bool handle(peer_connection& from, const nats::packet& read, bool& is_known);
  void publish(peer_connection& from, const nats::packet& read);
  bool deliver(std::string_view subject, std::string_view reply, std::string_view headers,
               std::string_view payload);
  bool has_listener(std::string_view subject) const;
  nats_stream* stream_of(std::string_view subject, std::string& name);
  json store(nats_stream& into, const std::string& name, const nats::packet& read);
  json answer(std::string_view subject, const std::string& body);
  json create_stream(const std::string& name, const std::string& body, bool is_update);
  json describe(const std::string& name, const nats_stream& of) const;
  json get_message(const nats_stream& of, const json& body) const;
  json create_consumer(const std::string& name, const nats_stream& of, const json& body);
  void pump(consumer& to);
  void pump_all();
  bool has_leader() const { return loop_clock::now() - started_at_ >= options_.without_leader; }

  nats_store* store_;
  nats_server_options options_;
  loop_clock::time_point started_at_;
  std::list<peer_connection*> connections_;
  std::list<consumer> consumers_;
  std::uint64_t next_consumer_ = 1;
  std::uint64_t next_flow_ = 1;
  std::uint64_t acknowledgement_count_ = 0;
  bool was_lame_duck_ = false;
};

// ---------------------------------------------------------------- connections

void broker::greet(peer_connection& to, bool is_lame_duck) const {
  json info = {{"server_id", "TEST"},
               {"server_name", "test"},
               {"version", "2.9.10"},
               {"headers", true},
               {"jetstream", true},
               {"max_payload", options_.payload_size_max},
               {"connect_urls", options_.addresses}};
  if (!options_.user.empty()) info["auth_required"] = true;
  if (is_lame_duck) info["ldm"] = true;
  nats::append_info(to.output, info.dump());
  to.work.set();
}

task<> broker::session(tcp_stream peer) {
  peer_connection mine;
  const auto entry = connections_.insert(connections_.end(), &mine);
  struct leaves {
    std::list<peer_connection*>& from;
    std::list<peer_connection*>::iterator which;
    ~leaves() { from.erase(which); }
  };
  const leaves at_last{connections_, entry};
  greet(mine, false);
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&]() -> task<> {
      for (;;) {
        while (mine.output.empty()) {
          if (mine.is_closing) break;
          mine.work.reset();
          co_await mine.work.wait();
        }
        if (mine.output.empty()) break;
        const std::string sending = std::exchange(mine.output, std::string());
        const auto sent =
            co_await as_result(with_timeout(10s, peer.write_all(const_buffer(sending))));
        if (!sent) break;
      }
      tasks.cancel();
    });
    nats::packet_reader reader(nats::packet_reader::sender::client);
    bool is_known = false;
    for (;;) {
      auto came = co_await as_result(with_timeout(60s, peer.read_lease()));
      if (!came) break;
      if (came->empty()) break;
      reader.append(came->text());
      nats::packet read;
      bool goes_on = true;
      nats::packet_state state = reader.next(read);
      while (goes_on && state == nats::packet_state::complete) {
        goes_on = handle(mine, read, is_known);
        if (goes_on) state = reader.next(read);
      }
      if (state == nats::packet_state::failed) {
        nats::append_error(mine.output, "Unknown Protocol Operation");
        goes_on = false;
      }
      if (goes_on && mine.output.size() <= output_size_max) continue;
      mine.is_closing = true;  // the writer sends what there is, and ends this
      mine.work.set();
      co_await sleep_for(1s);
      break;
    }
    tasks.cancel();
  });
}

/// False: the connection ends.
bool broker::handle(peer_connection& from, const nats::packet& read, bool& is_known) {
  if (read.type == nats::packet_type::connect) {
    const json who = nats::detail::read_object(read.text);
    is_known = !who.is_discarded() &&
               (options_.user.empty() || (text_of(who, "user") == options_.user &&
                                          text_of(who, "pass") == options_.password));
  }
  if (!is_known) {
    nats::append_error(from.output, "Authorization Violation");
    return false;
  }
  const std::string sid(read.sid);
  switch (read.type) {
    case nats::packet_type::ping:
      nats::append_pong(from.output);
      break;
    case nats::packet_type::subscribe:
      from.subscriptions[sid] = read.subject;
      for (consumer& each : consumers_) pump(each);
      break;
    case nats::packet_type::unsubscribe:
      if (read.max_count == 0) {
        from.subscriptions.erase(sid);
      } else {
        from.left_counts[sid] = read.max_count;
      }
      break;
    case nats::packet_type::publish:
      publish(from, read);
      break;
    default:
      break;
  }
  from.work.set();
  return true;
}

task<> broker::tick() {
  for (;;) {
    co_await sleep_for(250ms);
    const auto now = loop_clock::now();
    if (options_.lame_duck_after != 0ns && !was_lame_duck_ &&
        now - started_at_ >= options_.lame_duck_after) {
      was_lame_duck_ = true;
      for (peer_connection* const each : connections_) greet(*each, true);
    }
    for (auto each = consumers_.begin(); each != consumers_.end();) {
      const bool is_heard = has_listener(each->deliver_to);
      if (is_heard) each->heard_at = now;
      if (now - each->heard_at > each->inactive_threshold) {
        each = consumers_.erase(each);
        continue;
      }
      if (is_heard && now - each->spoke_at >= each->heartbeat) {
        nats::headers fields;
        fields.set_status(100, "Idle Heartbeat");
        fields.add("Nats-Last-Consumer", std::to_string(each->consumer_sequence));
        fields.add("Nats-Last-Stream", std::to_string(each->last_sent));
        if (!each->flow_subject.empty()) fields.add("Nats-Consumer-Stalled", each->flow_subject);
        deliver(each->deliver_to, "", fields.to_text(), "");
        each->spoke_at = now;
      }
      ++each;
    }
  }
}

// ---------------------------------------------------------------- routing

bool broker::has_listener(std::string_view subject) const {
  for (const peer_connection* const each : connections_) {
    for (const auto& [sid, pattern] : each->subscriptions) {
      if (nats::matches(pattern, subject)) return true;
    }
  }
  return false;
}

bool broker::deliver(std::string_view subject, std::string_view reply, std::string_view headers,
                     std::string_view payload) {
  bool was_heard = false;
  for (peer_connection* const each : connections_) {
    for (auto at = each->subscriptions.begin(); at != each->subscriptions.end();) {
      const auto current = at++;
      if (!nats::matches(current->second, subject)) continue;
      was_heard = true;
      if (!each->is_closing) {
        nats::append_message(each->output, subject, current->first, reply, headers, payload);
      }
      each->work.set();
      const auto left = each->left_counts.find(current->first);
      if (left != each->left_counts.end() && --left->second == 0) {
        each->left_counts.erase(left);
        each->subscriptions.erase(current);
      }
    }
  }
  return was_heard;
}

nats_stream* broker::stream_of(std::string_view subject, std::string& name) {
  for (auto& [each, stream] : store_->streams) {
    for (const std::string& pattern : stream.subjects) {
      if (!nats::matches(pattern, subject)) continue;
      name = each;
      return &stream;
    }
  }
  return nullptr;
}

void broker::publish(peer_connection& from, const nats::packet& read) {
  constexpr std::string_view flow = "$JS.FC.";
  if (read.subject.starts_with(flow)) {
    for (consumer& each : consumers_) {
      if (each.flow_subject != read.subject) continue;
      each.flow_subject.clear();
      each.unconfirmed_count = 0;
      pump(each);
      break;
    }
    return;
  }
  const std::string reply(read.reply);
  const auto reply_with = [&](const json& what) {
    if (!reply.empty()) deliver(reply, "", "", what.dump());
  };
  constexpr std::string_view api = "$JS.API.";
  if (read.subject.starts_with(api) && has_leader()) {
    reply_with(answer(read.subject.substr(api.size()), std::string(read.payload)));
    pump_all();
    return;
  }
  bool was_heard = deliver(read.subject, reply, read.headers, read.payload);
  std::string name;
  nats_stream* const into = has_leader() ? stream_of(read.subject, name) : nullptr;
  if (into != nullptr) {
    was_heard = true;
    const json told = store(*into, name, read);
    ++acknowledgement_count_;
    const bool is_lost = options_.lost_acknowledgement != 0 &&
                         acknowledgement_count_ % options_.lost_acknowledgement == 0;
    if (!is_lost) reply_with(told);
    pump_all();
  }
  if (was_heard || reply.empty()) return;
  nats::headers nobody;
  nobody.set_status(503, "");
  for (const auto& [sid, pattern] : from.subscriptions) {
    if (nats::matches(pattern, reply)) {
      nats::append_message(from.output, reply, sid, "", nobody.to_text(), "");
    }
  }
}

// ---------------------------------------------------------------- streams

json broker::store(nats_stream& into, const std::string& name, const nats::packet& read) {
  const auto fields = nats::headers::parse(read.headers);
  const auto field = [&](std::string_view wanted) {
    const auto found = fields ? fields->find(wanted) : std::nullopt;
    return found ? std::optional<std::string>(*found) : std::nullopt;
  };
  const std::int64_t now = loop::current().kernel().wall_now();
  std::erase_if(into.ids, [&](const auto& each) {
    return now - each.second.time > into.duplicate_window.count();
  });
  const auto id = field("Nats-Msg-Id");
  if (id) {
    const auto found = into.ids.find(*id);
    if (found != into.ids.end()) {
      return {{"stream", name}, {"seq", found->second.sequence}, {"duplicate", true}};
    }
  }
  const auto wanted = field("Nats-Expected-Last-Sequence");
  if (wanted && *wanted != std::to_string(into.last_sequence)) {
    return failure(400, 10071, "wrong last sequence: " + std::to_string(into.last_sequence));
  }
  nats_stored kept;
  kept.subject = read.subject;
  kept.headers = read.headers;
  kept.payload = read.payload;
  kept.sequence = ++into.last_sequence;
  kept.time = now;
  if (id) into.ids[*id] = kept;
  into.messages.push_back(kept);
  const auto is_same = [&](const nats_stored& each) { return each.subject == kept.subject; };
  const auto count = std::count_if(into.messages.begin(), into.messages.end(), is_same);
  if (into.subject_count_max != 0 && static_cast<std::uint64_t>(count) > into.subject_count_max) {
    into.messages.erase(std::find_if(into.messages.begin(), into.messages.end(), is_same));
  }
  return {{"stream", name}, {"seq", kept.sequence}};
}

json broker::answer(std::string_view subject, const std::string& body) {
  const auto name_after = [&](std::string_view prefix) -> std::optional<std::string> {
    if (!subject.starts_with(prefix)) return std::nullopt;
    return std::string(subject.substr(prefix.size()));
  };
  if (const auto name = name_after("STREAM.CREATE.")) return create_stream(*name, body, false);
  if (const auto name = name_after("STREAM.UPDATE.")) return create_stream(*name, body, true);
  if (const auto both = name_after("CONSUMER.DELETE.")) {
    const std::string name = both->substr(both->find('.') + 1);
    consumers_.remove_if([&](const consumer& each) { return each.name == name; });
    return {{"success", true}};
  }
  json asked = nats::detail::read_object(body);
  for (const std::string_view question :
       {"STREAM.INFO.", "STREAM.DELETE.", "STREAM.MSG.GET.", "CONSUMER.CREATE."}) {
    const auto name = name_after(question);
    if (!name) continue;
    const auto found = store_->streams.find(*name);
    if (found == store_->streams.end()) return failure(404, 10059, "stream not found");
    if (question == "STREAM.INFO.") return describe(*name, found->second);
    if (question == "STREAM.DELETE.") {
      consumers_.remove_if([&](const consumer& each) { return each.stream == *name; });
      store_->streams.erase(found);
      return {{"success", true}};
    }
    if (asked.is_discarded()) return failure(400, 10025, "invalid JSON");
    if (question == "STREAM.MSG.GET.") return get_message(found->second, asked);
    return create_consumer(*name, found->second, asked);
  }
  return failure(404, 10001, "unknown question");
}

json broker::create_stream(const std::string& name, const std::string& body, bool is_update) {
  const json config = nats::detail::read_object(body);
  if (config.is_discarded()) return failure(400, 10025, "invalid JSON");
  const bool exists = store_->streams.contains(name);
  if (is_update && !exists) return failure(404, 10059, "stream not found");
  nats_stream& stream = store_->streams[name];
  if (exists && !is_update && stream.config != body) {
    return failure(400, 10058, "stream name already in use with a different configuration");
  }
  stream.config = body;
  stream.subjects = config.at("subjects").get<std::vector<std::string>>();
  stream.duplicate_window = std::chrono::nanoseconds(number_of(config, "duplicate_window"));
  stream.subject_count_max = number_of(config, "max_msgs_per_subject");
  return describe(name, stream);
}

json broker::describe(const std::string& name, const nats_stream& of) const {
  json config = json::parse(of.config);
  config["name"] = name;
  return {
      {"config", config},
      {"created", "2026-01-01T00:00:00Z"},
      {"state",
       {{"messages", of.messages.size()},
        {"first_seq", of.messages.empty() ? of.last_sequence + 1 : of.messages.front().sequence},
        {"last_seq", of.last_sequence}}}};
}

json broker::get_message(const nats_stream& of, const json& body) const {
  const std::string last = text_of(body, "last_by_subj");
  const std::string next = text_of(body, "next_by_subj");
  const std::uint64_t sequence = number_of(body, "seq");
  const nats_stored* found = nullptr;
  for (const nats_stored& each : of.messages) {
    if (!last.empty()) {
      if (nats::matches(last, each.subject)) found = &each;
    } else if (!next.empty()) {
      if (found == nullptr && each.sequence >= sequence && nats::matches(next, each.subject)) {
        found = &each;
      }
    } else if (each.sequence == sequence) {
      found = &each;
    }
  }
  if (found == nullptr) return failure(404, 10037, "no message found");
  json message = {{"subject", found->subject},
                  {"seq", found->sequence},
                  {"data", encode_base64(found->payload)},
                  {"time", "2026-01-01T00:00:00Z"}};
  if (!found->headers.empty()) message["hdrs"] = encode_base64(found->headers);
  return {{"message", message}};
}

// ---------------------------------------------------------------- consumers

json broker::create_consumer(const std::string& name, const nats_stream& of, const json& body) {
  const auto found = body.find("config");
  if (found == body.end() || !found->is_object()) return failure(400, 10025, "no config");
  if (options_.refused_consumer_count != 0) {
    --options_.refused_consumer_count;
    return failure(500, 10012, "consumer create failed");
  }
  consumer made;
  made.name = "c" + std::to_string(next_consumer_++);
  made.stream = name;
  made.deliver_to = text_of(*found, "deliver_subject");
  made.pattern = text_of(*found, "filter_subject", ">");
  made.next_sequence = number_of(*found, "opt_start_seq", of.last_sequence + 1);
  made.heartbeat = std::chrono::nanoseconds(number_of(*found, "idle_heartbeat"));
  made.inactive_threshold = std::chrono::nanoseconds(number_of(*found, "inactive_threshold"));
  made.spoke_at = loop_clock::now();
  made.heard_at = made.spoke_at;
  const auto pending =
      std::count_if(of.messages.begin(), of.messages.end(), [&](const nats_stored& each) {
        return each.sequence >= made.next_sequence && nats::matches(made.pattern, each.subject);
      });
  consumers_.push_back(made);
  return {{"stream_name", name}, {"name", made.name}, {"num_pending", pending}};
}

void broker::pump(consumer& to) {
  const auto found = store_->streams.find(to.stream);
  if (found == store_->streams.end() || !has_listener(to.deliver_to)) return;
  const std::deque<nats_stored>& messages = found->second.messages;
  std::uint64_t pending = 0;
  for (const nats_stored& each : messages) {
    pending += each.sequence >= to.next_sequence && nats::matches(to.pattern, each.subject) ? 1 : 0;
  }
  for (const nats_stored& each : messages) {
    if (!to.flow_subject.empty()) return;
    if (each.sequence < to.next_sequence) continue;
    to.next_sequence = each.sequence + 1;
    if (!nats::matches(to.pattern, each.subject)) continue;
    ++to.consumer_sequence;
    to.last_sent = each.sequence;
    to.spoke_at = loop_clock::now();
    const std::string reply = "$JS.ACK." + to.stream + '.' + to.name + ".1." +
                              std::to_string(each.sequence) + '.' +
                              std::to_string(to.consumer_sequence) + '.' +
                              std::to_string(each.time) + '.' + std::to_string(--pending);
    // As a message that keeps its own subject, to who listens to the consumer's.
    for (peer_connection* const peer : connections_) {
      for (const auto& [sid, pattern] : peer->subscriptions) {
        if (!nats::matches(pattern, to.deliver_to) || peer->is_closing) continue;
        nats::append_message(peer->output, each.subject, sid, reply, each.headers, each.payload);
        peer->work.set();
      }
    }
    if (++to.unconfirmed_count < options_.flow_count) continue;
    to.flow_subject = "$JS.FC." + to.stream + '.' + to.name + '.' + std::to_string(next_flow_++);
    nats::headers fields;
    fields.set_status(100, "FlowControl Request");
    deliver(to.deliver_to, to.flow_subject, fields.to_text(), "");
  }
}

void broker::pump_all() {
  for (consumer& each : consumers_) pump(each);
}

}  // namespace

task<> nats_server(endpoint where, nats_store& store, nats_server_options options) {
  auto listener = tcp_listener::bind(where);
  broker all(store, std::move(options));
  serve_limits limits;
  limits.on_error = [](const endpoint&, std::exception_ptr) {};
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&] { return all.tick(); });
    co_await serve(listener, [&](tcp_stream peer) { return all.session(std::move(peer)); }, limits);
    tasks.cancel();
  });
}

}  // namespace rill::test

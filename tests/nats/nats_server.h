// A small NATS server with JetStream for tests, above all for simulated ones: one server, streams
// with sequence numbers, acknowledgements and a window of duplicates, ordered push consumers with
// flow control and heartbeats, no responders, users. Its streams live in a nats_store of the
// test's, so they outlive a crash of the host; consumers do not. Not here: clusters, queues'
// fairness, pull consumers, everything else: unknown questions are answered 404. The codec is
// rill's own (packet.h), from the other side. Read next: nats_server.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include <rill/net/endpoint.h>
#include <rill/runtime/task.h>

namespace rill::test {

struct nats_stored {
  std::string subject;
  std::string headers;
  std::string payload;
  std::uint64_t sequence = 0;
  std::int64_t time = 0;
};

struct nats_stream {
  std::string config;  ///< JSON, as it was given
  std::vector<std::string> subjects;
  std::chrono::nanoseconds duplicate_window{0};
  std::uint64_t subject_count_max = 0;  ///< messages of each subject; 0: no limit
  std::deque<nats_stored> messages;
  std::uint64_t last_sequence = 0;
  std::map<std::string, nats_stored> ids;  ///< Nats-Msg-Id: sequence and time
};

/// What a server keeps on its disk.
struct nats_store {
  std::map<std::string, nats_stream> streams;
};

class nats_server_options {
 public:
  nats_server_options() {}

  std::string user;  ///< empty: everybody may come
  std::string password;
  /// What INFO tells as connect_urls.
  std::vector<std::string> addresses;
  std::uint64_t payload_size_max = std::uint64_t{1024} * 1024;
  /// Flow control is asked for after so many messages.
  std::uint64_t flow_count = 8;
  /// Nobody answers questions of JetStream, nor takes messages into streams, for so long after the
  /// start: a cluster that has no leader yet.
  std::chrono::nanoseconds without_leader{0};
  /// After so long it tells its clients that it is about to stop; 0: never.
  std::chrono::nanoseconds lame_duck_after{0};
  /// Every so many acknowledgements one is lost; 0: none.
  std::uint64_t lost_acknowledgement = 0;
  /// So many consumers are refused, as by a cluster that is short of something.
  std::uint64_t refused_consumer_count = 0;
};

/// Serves until it is cancelled. Throws what listening throws.
task<> nats_server(endpoint where, nats_store& store,
                   nats_server_options options = nats_server_options());

}  // namespace rill::test

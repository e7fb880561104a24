// The history of a chat on disk: what was said is appended as it is said, and read when the server
// starts again.
//   rill::chat::log_folder folder("/var/lib/chat");
//   for (auto& each : co_await folder.read()) ...             // restore it
//   rill::chat::history_log log(folder, hub->at(0));          // then, on each loop
//   hub->keep(0, &log);
//   tasks.start([&] { return log.run(); });
// A shard has four files that take turns: history-SHARD-0.log and so on. Each begins with all that
// is kept of every room and goes on with what is said, until it is as long as it may be and the
// next one begins; so the one before the latest is never needed, and nothing has to be deleted. No
// file is appended to again by a later run: a torn end stays where it is and is passed over. Read
// next: history_log.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rill/protocols/chat/event.h>
#include <rill/protocols/chat/shard.h>
#include <rill/runtime/event.h>
#include <rill/runtime/file.h>
#include <rill/runtime/task.h>

namespace rill::chat {

/// An event that was read.
struct kept_event {
  std::string room;
  shared_event what;
};

/// The files of all shards in one folder, which must exist. REQUIRES: no other process has it.
class log_folder {
 public:
  static constexpr unsigned file_count = 4;  ///< of one shard

  explicit log_folder(std::string path) : path_(std::move(path)) {}

  /// Everything that earlier runs have left, by as many shards as they had, in the order in which
  /// it was said in each room, once each. What is torn or damaged ends its file: notes() tells.
  /// Errors: io_error of open and read, but that a file is not there is none.
  [[nodiscard]] task<std::vector<kept_event>> read();
  /// "history-0-2.log: 17 bytes at its end are no whole record and were passed over".
  const std::vector<std::string>& notes() const noexcept { return notes_; }

  const std::string& path() const noexcept { return path_; }
  std::string file_path(unsigned shard, unsigned slot) const;
  /// The generation of the latest file of a shard that was whole, and its slot.
  struct latest {
    std::uint64_t generation = 0;
    unsigned slot = 0;
  };
  latest latest_of(unsigned shard) const noexcept;

 private:
  [[nodiscard]] task<bool> read_file(unsigned shard, unsigned slot, std::vector<kept_event>& into);

  std::string path_;
  std::vector<latest> latest_;  // of each shard
  std::vector<std::string> notes_;
};

/// Sizes and times of one shard's files.
struct log_options {
  /// Bytes that a file has beside what it begins with before the next one begins, or as many as it
  /// begins with if those are more: so all that is kept is not written again for every message.
  std::size_t file_size_max = std::size_t{16} * 1024 * 1024;
  /// Bytes that wait to be written; beyond it what is said is not kept, and that is told.
  std::size_t waiting_size_max = std::size_t{16} * 1024 * 1024;
  /// How long to wait after a write that failed.
  std::chrono::nanoseconds failed_pause = std::chrono::seconds(1);
};

/// One shard's part. Thread rule: its loop's.
class history_log {
 public:
  /// Goes on after what `in` has read; both outlive it.
  history_log(const log_folder& in, shard& of, const log_options& options = log_options());
  history_log(const history_log&) = delete;
  history_log& operator=(const history_log&) = delete;

  /// Takes an event, to be written soon.
  void append(const shared_text& room, const shared_event& what);
  /// Writes, and waits after each write until it is on the disk; meanwhile more comes together.
  /// Until end(), and then until all is written; it is not cancelled itself.
  ///
  /// Errors: none. A full disk and the like are told on stderr, once until it works again; what was
  /// said meanwhile is in the memory, and the next file, which begins then, has what rooms keep.
  [[nodiscard]] task<> run();
  /// Lets run() end when all has been written. What is said from now on is not kept.
  void end() noexcept;

  /// Events that could not be written when they came.
  std::uint64_t lost_count() const noexcept { return lost_count_; }
  /// Events that are not known to be on the disk yet, and may still come there.
  std::size_t pending_count() const noexcept { return waiting_count_ + writing_count_; }

  /// Ends a log's run when it is destroyed, in the frame of whoever awaits a server that drains.
  class ending {
   public:
    explicit ending(history_log* of) noexcept : of_(of) {}
    ending(const ending&) = delete;
    ending& operator=(const ending&) = delete;
    ~ending() {
      if (of_ != nullptr) of_->end();
    }

   private:
    history_log* of_;
  };

 private:
  task<> write_all();
  task<bool> write_some();
  task<> begin_file();
  void failed(const char* what);

  const log_folder* folder_;
  shard* shard_;
  log_options options_;
  log_folder::latest place_;
  std::optional<file> file_;
  std::uint64_t begin_size_ = 0;  // of what it begins with
  std::uint64_t size_ = 0;        // of what is good in it
  std::string waiting_;
  std::size_t waiting_count_ = 0;
  std::size_t writing_count_ = 0;
  std::uint64_t lost_count_ = 0;
  rill::event changed_;
  bool ended_ = false;
  bool is_failing_ = false;
  bool has_gap_ = false;  // something that was said is in no file
};

}  // namespace rill::chat

// Files of the history; see history_log.h.
#include <rill/protocols/chat/history_log.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <span>
#include <utility>

#include <rill/protocols/chat/log_codec.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill::chat {
namespace {

constexpr std::size_t read_size = std::size_t{256} * 1024;
constexpr std::size_t piece_size = std::size_t{256} * 1024;  // written at once
static_assert(read_size > 2 * record_size_max, "a record fits");
/// Shards of an earlier run at most; a hub has not more.
constexpr unsigned shard_count_max = 65536;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

// --- reading ---

std::string log_folder::file_path(unsigned shard, unsigned slot) const {
  return path_ + "/history-" + std::to_string(shard) + '-' + std::to_string(slot) + ".log";
}

log_folder::latest log_folder::latest_of(unsigned shard) const noexcept {
  return shard < latest_.size() ? latest_[shard] : latest{0, file_count - 1};
}

task<std::vector<kept_event>> log_folder::read() {
  // Of each room in order of the numbers: files overlap, and a room may have been another shard's.
  std::vector<kept_event> all;
  latest_.clear();
  notes_.clear();
  for (unsigned shard = 0; shard != shard_count_max; ++shard) {
    bool is_there = false;
    latest_.push_back(latest{0, file_count - 1});
    for (unsigned slot = 0; slot != file_count; ++slot) {
      const bool was_read = co_await read_file(shard, slot, all);
      is_there = is_there || was_read;
    }
    if (!is_there) break;
  }
  latest_.pop_back();
  std::sort(all.begin(), all.end(), [](const kept_event& a, const kept_event& b) {
    return a.room != b.room ? a.room < b.room : a.what->id < b.what->id;
  });
  const auto last =
      std::unique(all.begin(), all.end(), [](const kept_event& a, const kept_event& b) {
        return a.room == b.room && a.what->id == b.what->id;
      });
  all.erase(last, all.end());
  co_return all;
}

task<bool> log_folder::read_file(unsigned shard, unsigned slot, std::vector<kept_event>& into) {
  const std::string path = file_path(shard, slot);
  auto opened = co_await as_result(file::open(path));
  if (!opened) {
    if (opened.error() == std::errc::no_such_file_or_directory) co_return false;
    throw_error(opened.error(), path);
  }
  file from = std::move(*opened);
  std::string held;
  std::uint64_t offset = 0;
  std::uint64_t generation = 0;
  bool is_at_end = false;
  record_status status = record_status::incomplete;
  while (!is_at_end && status == record_status::incomplete) {
    const std::size_t kept = held.size();
    held.resize(kept + read_size);
    const std::span<char> room = std::span(held).subspan(kept);
    const std::size_t came = co_await from.read_all_at(std::as_writable_bytes(room), offset);
    held.resize(kept + came);
    offset += came;
    is_at_end = came < read_size;
    std::string_view rest = held;
    log_record record;
    std::size_t size = 0;
    while ((status = read_record(rest, record, size)) == record_status::good) {
      rest.remove_prefix(size);
      if (record.kind == record_kind::header) generation = record.generation;
      if (record.kind == record_kind::whole && generation > latest_[shard].generation) {
        latest_[shard] = latest{generation, slot};
      }
      if (record.kind != record_kind::said) continue;
      record.said.who = share(record.who);
      into.push_back(
          {std::string(record.room), std::make_shared<const chat::event>(std::move(record.said))});
    }
    held.erase(0, held.size() - rest.size());
  }
  if (!held.empty()) {
    notes_.push_back(path + ": " + std::to_string(held.size()) +
                     (is_at_end ? " bytes at its end are no whole record and were passed over"
                                : " bytes and what follows are no records and were passed over"));
  }
  co_return true;
}

// --- writing ---

history_log::history_log(const log_folder& in, shard& of, const log_options& options)
    : folder_(&in), shard_(&of), options_(options), place_(in.latest_of(of.index())) {}

void history_log::append(const shared_text& room, const shared_event& what) {
  if (what->kind != event_kind::said && what->kind != event_kind::done) return;
  if (ended_ || waiting_.size() > options_.waiting_size_max) {
    ++lost_count_;
    has_gap_ = true;
    return;
  }
  append_said(waiting_, *room, *what);
  ++waiting_count_;
  changed_.set();
}

void history_log::end() noexcept {
  ended_ = true;
  changed_.set();
}

task<> history_log::run() { co_await shielded(write_all()); }

task<> history_log::write_all() {
  for (;;) {
    const bool written = co_await write_some();
    if (!written && ended_) break;  // it is tried once more at the end, and no longer
    if (!written) {
      try {
        co_await with_timeout(options_.failed_pause, changed_.wait());
      } catch (const timeout_error&) {
        // Another try.
      }
      // What is said meanwhile must not make it try without a pause.
      if (!ended_) co_await sleep_for(options_.failed_pause);
      continue;
    }
    if (!waiting_.empty()) continue;
    if (ended_) break;
    changed_.reset();
    co_await changed_.wait();
  }
  lost_count_ += std::exchange(waiting_count_, 0);
  if (file_) co_await as_result(file_->close());
  file_.reset();
}

task<bool> history_log::write_some() {
  try {
    const bool is_full =
        size_ - begin_size_ >= std::max<std::uint64_t>(options_.file_size_max, begin_size_);
    if (!file_ || is_full || has_gap_) co_await begin_file();
    const std::string batch = std::exchange(waiting_, {});
    writing_count_ = std::exchange(waiting_count_, 0);
    if (!batch.empty()) {
      co_await file_->write_all_at(bytes_of(batch), size_);
      co_await file_->sync_data();
      size_ += batch.size();
    }
    writing_count_ = 0;
  } catch (const io_error& error) {
    lost_count_ += std::exchange(writing_count_, 0);
    has_gap_ = true;
    failed(error.what());
    co_return false;
  }
  if (std::exchange(is_failing_, false)) std::fputs("chat: the history is kept again\n", stderr);
  co_return true;
}

task<> history_log::begin_file() {
  using mode = open_mode;
  const unsigned slot = (place_.slot + 1) % log_folder::file_count;
  const std::string path = folder_->file_path(shard_->index(), slot);
  constexpr unsigned permissions = 0600;  // what people say is nobody else's business
  file made = co_await file::open(path, mode::write | mode::create | mode::truncate, permissions);
  std::vector<std::pair<shared_text, shared_event>> kept;
  shard_->for_each_kept(
      [&](const shared_text& room, const shared_event& what) { kept.emplace_back(room, what); });
  // What waits is in the rooms already, so it is in `kept`.
  waiting_.clear();
  writing_count_ = std::exchange(waiting_count_, 0);
  has_gap_ = false;
  std::string piece;
  std::uint64_t size = 0;
  append_header(piece, place_.generation + 1);
  // In pieces: others have their turns between.
  for (const auto& [room, what] : kept) {
    append_said(piece, *room, *what);
    if (piece.size() < piece_size) continue;
    co_await made.write_all_at(bytes_of(piece), size);
    size += piece.size();
    piece.clear();
  }
  append_whole(piece);
  co_await made.write_all_at(bytes_of(piece), size);
  size += piece.size();
  co_await made.sync();
  // A new name is safe only when its folder is (fsync(2)).
  file folder = co_await file::open(folder_->path(), mode::read | mode::directory);
  co_await folder.sync();
  writing_count_ = 0;
  file_.emplace(std::move(made));
  place_ = log_folder::latest{place_.generation + 1, slot};
  begin_size_ = size_ = size;
}

void history_log::failed(const char* what) {
  if (std::exchange(is_failing_, true)) return;
  std::fprintf(stderr, "chat: the history is not kept for now: %s\n", what);
}

}  // namespace rill::chat

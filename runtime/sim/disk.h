// The disk of a simulated host: a tree of files in memory, and what of it would survive a crash.
// What was written and not synced survives in part, as the seed has it: page by page, entry by
// entry. Not here: open files and their requests (disk_file.h), links, users and permissions.
// Read next: disk.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rill/runtime/sim/random.h>

namespace rill::sim::detail {

class file;

/// A regular file, a directory, or the name of a Unix socket.
struct inode {
  enum class kind : std::uint8_t { regular, directory, socket };
  using directory_entries = std::map<std::string, std::shared_ptr<inode>>;

  kind what = kind::regular;
  unsigned permissions = 0;
  std::uint64_t number = 0;
  std::int64_t modified = 0;  ///< nanoseconds since 1970
  std::vector<std::byte> bytes;
  directory_entries entries;
  std::weak_ptr<file> bound;  ///< of a socket's name

  // What the last sync has made safe.
  std::vector<std::byte> synced_bytes;
  directory_entries synced_entries;
};

/// Where a relative path begins.
struct path_start {
  std::shared_ptr<inode> folder;  ///< an open one; nullptr: the root
  bool is_beneath = false;        ///< RESOLVE_BENEATH: EXDEV for what leaves it
};

class disk {
 public:
  disk(std::uint64_t seed, std::uint32_t host, std::size_t size_max);

  // All give 0 or a negative errno. Relative paths begin at the root, as those of a service do.
  int find(std::string_view path, std::shared_ptr<inode>& found) const;
  /// open(2) with its flags; `now` is the time of what it makes or cuts.
  int open(std::string_view path, int flags, unsigned permissions, std::int64_t now,
           std::shared_ptr<inode>& opened, const path_start& from = path_start());
  /// Makes or replaces a file, synced, its name too.
  int write(std::string_view path, std::string_view text, std::int64_t now,
            std::shared_ptr<inode>& made);
  int make_directory(std::string_view path, unsigned permissions, std::int64_t now);
  /// A new name for a Unix socket: EADDRINUSE if there is such a file.
  int bind_socket(std::string_view path, std::int64_t now, std::shared_ptr<inode>& made);
  int unlink(std::string_view path, bool directory);
  /// A name for a file that is open, which may have had none.
  int link(const std::shared_ptr<inode>& named, std::string_view path);
  int rename(std::string_view from, std::string_view to);

  /// Makes `size` bytes of room in the file from `offset` on. Gives how many of them fit.
  std::size_t grow(inode& grown, std::uint64_t offset, std::size_t size);
  void truncate(inode& cut);
  /// fsync(2): of a file its bytes, of a directory its entries. As POSIX has it, a new file's name
  /// is safe only when its directory was synced too.
  static void sync(inode& safe);

  /// The power fails: of what was not synced each page and each entry is kept or lost.
  void crash();
  std::size_t used_size() const noexcept { return used_size_; }
  /// No byte fits any more, as long as it is set.
  bool is_full = false;

 private:
  struct place {
    std::shared_ptr<inode> parent;
    std::string name;  ///< empty: the root itself
    bool must_be_directory = false;
  };
  int look_up(std::string_view path, place& found, const path_start& from = path_start()) const;
  static std::shared_ptr<inode> child_of(const place& at);
  std::shared_ptr<inode> make(inode::kind what, unsigned permissions, std::int64_t now);
  std::shared_ptr<inode> add(const place& at, inode::kind what, unsigned permissions,
                             std::int64_t now);
  static bool contains(const inode& folder, const inode* wanted);
  void crash(inode& hit);
  void count(const inode& counted);

  random_source random_;
  std::size_t size_max_;
  std::size_t used_size_ = 0;
  std::uint64_t next_number_ = 2;
  std::shared_ptr<inode> root_;
};

}  // namespace rill::sim::detail

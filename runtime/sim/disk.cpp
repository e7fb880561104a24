// Paths, room and crashes. See disk.h.
#include <rill/runtime/sim/disk.h>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include <rill/runtime/sim/engine.h>
#include <rill/runtime/sim/file.h>

namespace rill::sim::detail {
namespace {

constexpr std::size_t path_max = 4095;  // PATH_MAX less its NUL
constexpr std::size_t name_max = 255;   // NAME_MAX
// What a crash keeps or loses as one.
constexpr std::size_t page_size = 4096;

}  // namespace

disk::disk(std::uint64_t seed, std::uint32_t host, std::size_t size_max)
    : random_(seed, "disk", host), size_max_(size_max), root_(std::make_shared<inode>()) {
  root_->what = inode::kind::directory;
  root_->permissions = 0755;
  root_->number = 1;
  // The directories that every service expects have been there for long.
  for (const char* const path : {"/etc", "/run", "/tmp", "/var"}) make_directory(path, 0755, 0);
  sync(*root_);
}

// ---------------------------------------------------------------- paths

int disk::look_up(std::string_view path, place& found, const path_start& from) const {
  if (path.empty()) return -ENOENT;
  if (path.size() > path_max) return -ENAMETOOLONG;
  const bool is_absolute = path.front() == '/';
  if (is_absolute && from.is_beneath) return -EXDEV;
  std::shared_ptr<inode> here = from.folder == nullptr || is_absolute ? root_ : from.folder;
  std::vector<std::shared_ptr<inode>> way{here};
  found = place{here, {}, true};
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    const bool followed = name.size() < path.size();  // by a slash at least
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    if (name.empty()) continue;
    if (name.size() > name_max) return -ENAMETOOLONG;
    if (here == nullptr) return -ENOENT;
    if (here->what != inode::kind::directory) return -ENOTDIR;
    if (name == "..") {
      if (way.size() == 1 && from.is_beneath) return -EXDEV;
      if (way.size() == 1 && here != root_) return refuse("a path above an open folder");
      if (way.size() > 1) way.pop_back();
      here = way.back();
      found = place{here, {}, true};
    } else if (name != ".") {
      found = place{here, std::string(name), followed};
      here = child_of(found);
      way.push_back(here);
    } else {
      found.must_be_directory = true;
    }
  }
  return 0;
}

std::shared_ptr<inode> disk::child_of(const place& at) {
  if (at.name.empty()) return at.parent;
  const auto found = at.parent->entries.find(at.name);
  return found == at.parent->entries.end() ? nullptr : found->second;
}

std::shared_ptr<inode> disk::make(inode::kind what, unsigned permissions, std::int64_t now) {
  auto made = std::make_shared<inode>();
  made->what = what;
  made->permissions = permissions;
  made->number = next_number_++;
  made->modified = now;
  return made;
}

std::shared_ptr<inode> disk::add(const place& at, inode::kind what, unsigned permissions,
                                 std::int64_t now) {
  auto made = make(what, permissions, now);
  at.parent->entries[at.name] = made;
  at.parent->modified = now;
  return made;
}

int disk::find(std::string_view path, std::shared_ptr<inode>& found) const {
  place at;
  if (const int status = look_up(path, at); status < 0) return status;
  found = child_of(at);
  if (found == nullptr) return -ENOENT;
  return at.must_be_directory && found->what != inode::kind::directory ? -ENOTDIR : 0;
}

int disk::open(std::string_view path, int flags, unsigned permissions, std::int64_t now,
               std::shared_ptr<inode>& opened, const path_start& from) {
  place at;
  if (const int status = look_up(path, at, from); status < 0) return status;
  opened = child_of(at);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if ((flags & O_TMPFILE) == O_TMPFILE) {  // its room counts as taken until the host restarts
    if (opened == nullptr) return -ENOENT;
    if (opened->what != inode::kind::directory) return -ENOTDIR;
    if (!writes) return -EINVAL;
    if (is_full) return -ENOSPC;
    opened = make(inode::kind::regular, permissions & 0755U, now);
    return 0;
  }
  if (opened == nullptr) {
    if ((flags & O_CREAT) == 0) return -ENOENT;
    if (at.must_be_directory) return -EISDIR;
    if ((flags & O_DIRECTORY) != 0) return -EINVAL;  // since Linux 6.3
    if (is_full) return -ENOSPC;
    opened = add(at, inode::kind::regular, permissions & 0755U, now);  // umask 022
    return 0;
  }
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return -EEXIST;
  if (opened->what == inode::kind::directory) return writes || (flags & O_CREAT) ? -EISDIR : 0;
  if (at.must_be_directory || (flags & O_DIRECTORY) != 0) return -ENOTDIR;
  if (opened->what == inode::kind::socket) return -ENXIO;
  if ((flags & O_TRUNC) != 0) {
    truncate(*opened);
    opened->modified = now;
  }
  return 0;
}

int disk::write(std::string_view path, std::string_view text, std::int64_t now,
                std::shared_ptr<inode>& made) {
  const int status = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644, now, made);
  if (status < 0) return status;
  if (grow(*made, 0, text.size()) != text.size()) return -ENOSPC;
  const auto bytes = std::as_bytes(std::span(text));
  made->bytes.assign(bytes.begin(), bytes.end());
  made->modified = now;
  sync(*made);
  place at;
  for (std::string_view way = path; !way.empty();) {
    if (look_up(way, at) == 0) {
      const std::shared_ptr<inode> child = child_of(at);
      if (child != nullptr && !at.name.empty()) at.parent->synced_entries[at.name] = child;
    }
    const std::size_t slash = way.rfind('/');
    way = slash == way.npos ? std::string_view() : way.substr(0, slash);
  }
  return 0;
}

int disk::make_directory(std::string_view path, unsigned permissions, std::int64_t now) {
  place at;
  if (const int status = look_up(path, at); status < 0) return status;
  if (child_of(at) != nullptr) return -EEXIST;
  if (is_full) return -ENOSPC;
  add(at, inode::kind::directory, permissions & 0755U, now);
  return 0;
}

int disk::bind_socket(std::string_view path, std::int64_t now, std::shared_ptr<inode>& made) {
  place at;
  if (const int status = look_up(path, at); status < 0) return status;
  if (child_of(at) != nullptr) return -EADDRINUSE;
  if (at.must_be_directory) return -ENOENT;
  made = add(at, inode::kind::socket, 0755, now);
  return 0;
}

int disk::unlink(std::string_view path, bool directory) {
  place at;
  if (const int status = look_up(path, at); status < 0) return status;
  const std::shared_ptr<inode> gone = child_of(at);
  if (gone == nullptr) return -ENOENT;
  if (at.name.empty()) return -EBUSY;
  if (directory) {
    if (gone->what != inode::kind::directory) return -ENOTDIR;
    if (!gone->entries.empty()) return -ENOTEMPTY;
  } else if (gone->what == inode::kind::directory) {
    return -EISDIR;
  } else if (at.must_be_directory) {
    return -ENOTDIR;
  }
  at.parent->entries.erase(at.name);
  // Those who have it open may go on; its room is counted as free at once.
  used_size_ -= std::min(used_size_, gone->bytes.size());
  return 0;
}

int disk::link(const std::shared_ptr<inode>& named, std::string_view path) {
  place at;
  if (const int status = look_up(path, at); status < 0) return status;
  if (child_of(at) != nullptr) return -EEXIST;
  if (named->what == inode::kind::directory) return -EPERM;
  if (at.must_be_directory) return -ENOENT;
  if (is_full) return -ENOSPC;
  at.parent->entries[at.name] = named;
  return 0;
}

/// `wanted` is the folder, or somewhere below it.
bool disk::contains(const inode& folder, const inode* wanted) {
  if (&folder == wanted) return true;
  return std::any_of(folder.entries.begin(), folder.entries.end(),
                     [&](const auto& entry) { return contains(*entry.second, wanted); });
}

int disk::rename(std::string_view from, std::string_view to) {
  place old_place;
  place new_place;
  if (const int status = look_up(from, old_place); status < 0) return status;
  if (const int status = look_up(to, new_place); status < 0) return status;
  const std::shared_ptr<inode> moved = child_of(old_place);
  if (moved == nullptr) return -ENOENT;
  if (old_place.name.empty() || new_place.name.empty()) return -EBUSY;
  const std::shared_ptr<inode> replaced = child_of(new_place);
  if (replaced == moved) return 0;
  if (contains(*moved, new_place.parent.get())) return -EINVAL;
  if (replaced != nullptr) {
    const bool to_directory = replaced->what == inode::kind::directory;
    if (to_directory && moved->what != inode::kind::directory) return -EISDIR;
    if (!to_directory && moved->what == inode::kind::directory) return -ENOTDIR;
    if (to_directory && !replaced->entries.empty()) return -ENOTEMPTY;
    used_size_ -= std::min(used_size_, replaced->bytes.size());
  }
  old_place.parent->entries.erase(old_place.name);
  new_place.parent->entries[new_place.name] = moved;
  return 0;
}

// ---------------------------------------------------------------- bytes

std::size_t disk::grow(inode& grown, std::uint64_t offset, std::size_t size) {
  if (is_full) return 0;
  const std::uint64_t end = offset + size;
  if (end <= grown.bytes.size()) return size;
  const std::size_t room = size_max_ - std::min(size_max_, used_size_);
  const std::uint64_t end_max = grown.bytes.size() + room;
  if (offset >= end_max) return 0;
  const auto new_size = static_cast<std::size_t>(std::min(end, end_max));
  used_size_ += new_size - grown.bytes.size();
  grown.bytes.resize(new_size);
  return new_size - static_cast<std::size_t>(offset);
}

void disk::truncate(inode& cut) {
  used_size_ -= std::min(used_size_, cut.bytes.size());
  cut.bytes.clear();
}

void disk::sync(inode& safe) {
  safe.synced_bytes = safe.bytes;
  safe.synced_entries = safe.entries;
}

// ---------------------------------------------------------------- crashes

void disk::crash() {
  crash(*root_);
  used_size_ = 0;
  count(*root_);
}

void disk::count(const inode& counted) {
  used_size_ += counted.bytes.size();
  for (const auto& [name, child] : counted.entries) count(*child);
}

void disk::crash(inode& hit) {
  constexpr double half = 0.5;
  if (hit.what == inode::kind::regular && hit.bytes != hit.synced_bytes) {
    const bool keeps_size = random_.chance(half);
    std::vector<std::byte> left = hit.synced_bytes;
    if (keeps_size) left.resize(hit.bytes.size());
    for (std::size_t at = 0; at < std::min(left.size(), hit.bytes.size()); at += page_size) {
      if (!random_.chance(half)) continue;
      const std::size_t size = std::min({page_size, left.size() - at, hit.bytes.size() - at});
      std::copy_n(hit.bytes.begin() + static_cast<std::ptrdiff_t>(at), size,
                  left.begin() + static_cast<std::ptrdiff_t>(at));
    }
    hit.bytes = std::move(left);
  }
  // Made, replaced and removed entries: each as it was, or as it is.
  inode::directory_entries kept = hit.synced_entries;
  for (const auto& [name, child] : hit.entries) {
    const auto before = hit.synced_entries.find(name);
    const bool same = before != hit.synced_entries.end() && before->second == child;
    if (!same && random_.chance(half)) kept[name] = child;
  }
  for (const auto& [name, child] : hit.synced_entries) {
    if (hit.entries.count(name) == 0 && random_.chance(half)) kept.erase(name);
  }
  hit.entries = std::move(kept);
  for (const auto& [name, child] : hit.entries) crash(*child);
  sync(hit);
}

}  // namespace rill::sim::detail

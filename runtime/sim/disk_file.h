// An open file of a simulated disk, and the two ends of a pipe. Read next: disk_file.cpp.
#pragma once

#include <memory>

#include <rill/runtime/sim/bytes.h>
#include <rill/runtime/sim/disk.h>
#include <rill/runtime/sim/file.h>

namespace rill::sim::detail {

class disk_file final : public file {
 public:
  disk_file(node& on, std::shared_ptr<inode> opened, int flags);

  bool is_on_disk() const noexcept override { return true; }
  unsigned poll_state() noexcept override;
  /// What the disk says to a request when its time has come: bytes, 0, or a negative errno.
  int carry_out(request& asked);
  /// For sendfile: 0, or why this file cannot be sent.
  int may_send() const noexcept;
  const inode& content() const noexcept { return *inode_; }
  const std::shared_ptr<inode>& shared_content() const noexcept { return inode_; }

 protected:
  progress attempt(request& tried) override;

 private:
  int read(request& asked) const;
  int write(request& asked);
  int status(void* into) const noexcept;

  node* node_;
  std::shared_ptr<inode> inode_;
  int flags_;
};

/// One end of a pipe.
class pipe_end final : public file {
 public:
  /// Two ends that belong together: first to read from, second to write to.
  static void make(std::shared_ptr<file>& reader, std::shared_ptr<file>& writer);
  explicit pipe_end(bool writes) noexcept : writes_(writes) {}
  ~pipe_end() override;

  unsigned poll_state() noexcept override;

 protected:
  progress attempt(request& tried) override;

 private:
  progress read(request& tried);
  progress write(request& tried);

  bool writes_;
  std::shared_ptr<byte_queue> bytes_;
  std::weak_ptr<pipe_end> other_;
};

}  // namespace rill::sim::detail

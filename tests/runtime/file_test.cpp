// Files: opening, reading and writing at offsets, status, closing, errors that name the path, and
// sending one to a socket.
#include <rill/runtime/file.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/descriptors.h"
#include "support/files.h"
#include <rill/runtime/event.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::open_descriptor_count;
using test::run_loop;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span<const char>(text));
}

class file_test : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }
  std::string made(const std::string& name, std::string_view content) const {
    return folder_.made(name, content);
  }
  static std::string content(const std::string& of) {
    std::ifstream from(of, std::ios::binary);
    return {std::istreambuf_iterator<char>(from), std::istreambuf_iterator<char>()};
  }

 private:
  test::temporary_folder folder_;
};

TEST_F(file_test, what_was_written_can_be_read_back) {
  run_loop([&]() -> task<> {
    file made =
        co_await file::open(path("a"), open_mode::read | open_mode::write | open_mode::create);
    EXPECT_EQ(co_await made.write_at(bytes_of("hello, file"), 0), 11U);
    EXPECT_EQ(co_await made.write_at(bytes_of("F"), 7), 1U);
    std::string text(32, '.');
    const std::size_t count = co_await made.read_at(std::as_writable_bytes(std::span(text)), 7);
    EXPECT_EQ(text.substr(0, count), "File");
    EXPECT_EQ(co_await made.read_at(std::as_writable_bytes(std::span(text)), 11), 0U);
    co_await made.close();
    EXPECT_FALSE(made.is_open());
  });
  EXPECT_EQ(content(path("a")), "hello, File");
}

TEST_F(file_test, the_path_may_be_a_temporary) {
  made("a", "x");
  run_loop([&]() -> task<> {
    auto opening = file::open(std::string(path("a")));  // the string is gone when it is awaited
    const file opened = co_await std::move(opening);
    EXPECT_EQ(opened.path(), path("a"));
  });
}

TEST_F(file_test, open_modes_mean_what_open_2_says) {
  run_loop([&]() -> task<> {
    file first = co_await file::open(
        path("a"), open_mode::write | open_mode::create | open_mode::exclusive, 0640);
    co_await first.write_all_at(bytes_of("12345"), 0);
    const file_status status = co_await first.stat();
    EXPECT_EQ(status.permissions & 0177U, 0040U & ~::umask(022));
    const result<file> again = co_await as_result(
        file::open(path("a"), open_mode::write | open_mode::create | open_mode::exclusive));
    EXPECT_FALSE(again);
    if (!again) {
      EXPECT_EQ(again.error(), std::errc::file_exists);
    }

    file log = co_await file::open(path("a"), open_mode::append);
    co_await log.write_all_at(bytes_of("67"), 0);
    EXPECT_EQ(content(path("a")), "1234567");
    EXPECT_NE(::fcntl(log.descriptor(), F_GETFD) & FD_CLOEXEC, 0);

    const file cut = co_await file::open(path("a"), open_mode::write | open_mode::truncate);
    EXPECT_EQ(content(path("a")), "");

    const result<file> folder = co_await as_result(file::open(path("a"), open_mode::directory));
    EXPECT_FALSE(folder);
    std::filesystem::create_symlink(path("a"), path("link"));
    const result<file> link = co_await as_result(file::open(path("link"), open_mode::no_follow));
    EXPECT_FALSE(link);
  });
}

TEST_F(file_test, an_unnamed_file_leaves_nothing_unless_it_is_linked) {
  run_loop([&]() -> task<> {
    const open_mode mode = open_mode::read | open_mode::write | open_mode::unnamed;
    file kept = co_await file::open(path(""), mode, 0600);
    const file lost = co_await file::open(path(""), mode, 0600);
    co_await kept.write_all_at(bytes_of("kept"), 0);
    EXPECT_TRUE(std::filesystem::is_empty(path("")));
    kept.link(path("name"));
    EXPECT_EQ(content(path("name")), "kept");
    try {
      kept.link(path("name"));
      ADD_FAILURE() << "the name is taken";
    } catch (const io_error& refused) {
      EXPECT_EQ(refused.what(), "link " + path("name") + ": File exists");
    }
    EXPECT_THROW(kept.link(path(std::string("na\0me", 5))), io_error);
  });
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path("")), {}), 1);
}

TEST_F(file_test, errors_name_the_operation_and_the_path) {
  run_loop([&]() -> task<> {
    std::string message;
    try {
      const file none = co_await file::open(path("absent"));
    } catch (const io_error& error) {
      message = error.what();
      EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
      EXPECT_EQ(error.operation(), "open");
      EXPECT_EQ(error.subject(), path("absent"));
    }
    EXPECT_EQ(message, "open " + path("absent") + ": No such file or directory");

    file folder = co_await file::open(path(""), open_mode::directory);
    std::byte buffer[4];
    try {
      co_await folder.read_at(buffer, 0);
    } catch (const io_error& error) {
      message = error.what();
    }
    EXPECT_EQ(message, "read " + path("") + ": Is a directory");
  });
}

TEST_F(file_test, a_path_with_a_zero_byte_is_refused) {
  made("a", "x");
  run_loop([&]() -> task<> {
    const std::string sly = path("a") + std::string(1, '\0') + ".txt";
    const result<file> opened = co_await as_result(file::open(sly));
    EXPECT_FALSE(opened);
    if (!opened) {
      EXPECT_EQ(opened.error(), std::errc::invalid_argument);
    }
  });
}

/// What opening `path` below a folder says: 0, or an errno.
task<int> opened_below(const file& folder, std::string path, link_policy links,
                       open_mode mode = open_mode::read) {
  const result<file> opened = co_await as_result(file::open_below(folder, path, links, mode));
  co_return opened ? 0 : opened.error().code().value();
}

TEST_F(file_test, a_path_below_a_folder_stays_there) {
  std::filesystem::create_directories(path("root/in/deep"));
  made("secret", "x");
  made("root/in/file", "x");
  std::filesystem::create_symlink("in", path("root/within"));
  std::filesystem::create_symlink("../root/in/file", path("root/around"));
  std::filesystem::create_symlink(path("root/in/file"), path("root/absolute"));
  std::filesystem::create_symlink("../secret", path("root/out"));
  std::filesystem::create_symlink("within", path("root/chain"));
  std::filesystem::create_symlink("loop", path("root/loop"));
  struct row {
    const char* path;
    int refused;
    int below;
    int anywhere;
  };
  const row rows[] = {
      {"in/file", 0, 0, 0},
      {"in/./file", 0, 0, 0},
      {".", 0, 0, 0},
      {"in/deep/../file", 0, 0, EXDEV},
      {"..", EXDEV, EXDEV, EXDEV},
      {"../secret", EXDEV, EXDEV, EXDEV},
      {"in/../../secret", EXDEV, EXDEV, EXDEV},
      {"..in", ENOENT, ENOENT, ENOENT},
      {"/etc/passwd", EXDEV, EXDEV, EXDEV},
      {"within/file", ELOOP, 0, 0},
      {"chain/file", ELOOP, 0, 0},
      {"around", ELOOP, EXDEV, 0},
      {"absolute", ELOOP, EXDEV, 0},
      {"out", ELOOP, EXDEV, 0},
      {"loop", ELOOP, ELOOP, ELOOP},
      {"none", ENOENT, ENOENT, ENOENT},
      {"", ENOENT, ENOENT, ENOENT},
      {"in/file/", ENOTDIR, ENOTDIR, ENOTDIR},
  };
  run_loop([&]() -> task<> {
    const file root = co_await file::open(path("root"), open_mode::directory);
    for (const row& each : rows) {
      EXPECT_EQ(co_await opened_below(root, each.path, link_policy::refused), each.refused)
          << each.path;
      EXPECT_EQ(co_await opened_below(root, each.path, link_policy::below), each.below)
          << each.path;
      EXPECT_EQ(co_await opened_below(root, each.path, link_policy::anywhere), each.anywhere)
          << each.path;
    }
    const std::string sly("in/file\0.txt", 12);
    EXPECT_EQ(co_await opened_below(root, sly, link_policy::below), EINVAL);
  });
}

TEST_F(file_test, names_that_are_refused_at_once_starve_nobody) {
  run_loop([&]() -> task<> {
    const std::string sly("a\0b", 3);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) {
          const auto opened = co_await as_result(file::open(sly, open_mode::read));
          EXPECT_FALSE(opened.has_value());
        }
      });
      co_await test::settle();  // would not come back
      tasks.cancel();
    });
  });
}

TEST_F(file_test, a_file_can_be_made_below_a_folder_and_errors_name_both) {
  run_loop([&]() -> task<> {
    const file root = co_await file::open(path(""), open_mode::directory);
    file log = co_await file::open_below(root, "log", link_policy::below,
                                         open_mode::write | open_mode::create, 0600);
    co_await log.write_all_at(bytes_of("entry"), 0);
    EXPECT_EQ(log.path(), path("") + "/log");
    const file_status status = co_await log.stat();
    EXPECT_EQ(status.permissions, 0600U);
    std::string message;
    try {
      const file none = co_await file::open_below(root, "none");
    } catch (const io_error& error) {
      message = error.what();
    }
    EXPECT_EQ(message, "open " + path("") + "/none: No such file or directory");
  });
  EXPECT_EQ(content(path("log")), "entry");
}

TEST_F(file_test, an_open_that_waits_for_nobody_gives_a_fifo_at_once_and_a_file_that_reads) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  made("a", "content");
  run_loop([&]() -> task<> {
    const file root = co_await file::open(path(""), open_mode::directory);
    const auto mode = open_mode::read | open_mode::no_wait;
    file fifo = co_await file::open_below(root, "fifo", link_policy::below, mode);
    const file_status status = co_await fifo.stat();
    EXPECT_EQ(status.kind, file_kind::fifo);
    file plain = co_await file::open_below(root, "a", link_policy::below, mode);
    EXPECT_EQ(::fcntl(plain.descriptor(), F_GETFL) & O_NONBLOCK, 0);
    std::string text(7, '.');
    EXPECT_EQ(co_await plain.read_at(std::as_writable_bytes(std::span(text)), 0), 7U);
    EXPECT_EQ(text, "content");
  });
}

TEST_F(file_test, stat_tells_size_kind_time_and_permissions) {
  const std::string regular = made("a", "12345");
  ::chmod(regular.c_str(), 0604);
  ::mkfifo(path("fifo").c_str(), 0600);
  run_loop([&]() -> task<> {
    file opened = co_await file::open(regular);
    const file_status status = co_await opened.stat();
    EXPECT_EQ(status.size, 5U);
    EXPECT_EQ(status.kind, file_kind::regular);
    EXPECT_EQ(status.permissions, 0604U);
    struct stat expected{};
    ::stat(regular.c_str(), &expected);
    EXPECT_EQ(status.modified.time_since_epoch(),
              std::chrono::seconds(expected.st_mtim.tv_sec) +
                  std::chrono::nanoseconds(expected.st_mtim.tv_nsec));
    EXPECT_EQ(status.inode, expected.st_ino);
    EXPECT_EQ(status.device, expected.st_dev);

    file folder = co_await file::open(path(""));
    const file_status of_folder = co_await folder.stat();
    EXPECT_EQ(of_folder.kind, file_kind::directory);
    file null = co_await file::open("/dev/null");
    const file_status of_null = co_await null.stat();
    EXPECT_EQ(of_null.kind, file_kind::character_device);
    file fifo = co_await file::open(path("fifo"), open_mode::read | open_mode::write);
    const file_status of_fifo = co_await fifo.stat();
    EXPECT_EQ(of_fifo.kind, file_kind::fifo);
  });
}

TEST_F(file_test, sync_and_sync_data_succeed_on_a_disk_and_report_elsewhere) {
  run_loop([&]() -> task<> {
    file out = co_await file::open(path("a"), open_mode::write | open_mode::create);
    co_await out.write_all_at(bytes_of("x"), 0);
    co_await out.sync_data();
    co_await out.sync();
    file null = co_await file::open("/dev/null", open_mode::write);
    const result<void> refused = co_await as_result(null.sync());
    EXPECT_FALSE(refused);
    if (!refused) {
      EXPECT_EQ(refused.error(), std::errc::invalid_argument);
    }
  });
}

TEST_F(file_test, a_full_disk_is_an_error_of_the_write) {
  run_loop([&]() -> task<> {
    file full = co_await file::open("/dev/full", open_mode::write);
    std::string message;
    try {
      co_await full.write_all_at(bytes_of("x"), 0);
    } catch (const io_error& error) {
      message = error.what();
    }
    EXPECT_EQ(message, "write /dev/full: No space left on device");
  });
}

TEST_F(file_test, read_all_at_stops_at_the_end_only) {
  made("a", "0123456789");
  run_loop([&]() -> task<> {
    file opened = co_await file::open(path("a"));
    std::string text(8, '.');
    EXPECT_EQ(co_await opened.read_all_at(std::as_writable_bytes(std::span(text)), 1), 8U);
    EXPECT_EQ(text, "12345678");
    EXPECT_EQ(co_await opened.read_all_at(std::as_writable_bytes(std::span(text)), 7), 3U);
    EXPECT_EQ(text.substr(0, 3), "789");
  });
}

TEST_F(file_test, read_all_at_joins_short_reads_of_a_pipe) {
  ::mkfifo(path("fifo").c_str(), 0600);
  run_loop([&]() -> task<> {
    file both = co_await file::open(path("fifo"), open_mode::read | open_mode::write);
    std::string text(6, '.');
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        EXPECT_EQ(co_await both.read_all_at(std::as_writable_bytes(std::span(text)), 0), 6U);
      });
      co_await test::settle();
      co_await both.write_all_at(bytes_of("abc"), 0);
      co_await test::settle();
      co_await both.write_all_at(bytes_of("def"), 0);
    });
    EXPECT_EQ(text, "abcdef");
  });
}

TEST_F(file_test, read_file_gives_all_of_it_within_a_limit) {
  std::string big(300'000, 'x');
  big[299'999] = 'y';
  made("big", big);
  made("empty", "");
  run_loop([&]() -> task<> {
    EXPECT_EQ(co_await read_file(path("big"), 300'000), big);
    EXPECT_EQ(co_await read_file(path("empty"), 0), "");
    const std::string status = co_await read_file("/proc/self/status", SIZE_MAX);
    EXPECT_NE(status.find("Pid:"), std::string::npos);
    std::string message;
    try {
      co_await read_file(path("big"), 299'999);
    } catch (const io_error& error) {
      message = error.what();
      EXPECT_EQ(error.code(), std::errc::file_too_large);
    }
    EXPECT_EQ(message, "read " + path("big") + ": File too large");
  });
}

TEST_F(file_test, a_destroyed_file_closes_its_descriptor_before_the_loop_ends) {
  made("a", "x");
  const std::size_t before = open_descriptor_count();
  {
    loop on(make_kernel("auto"));
    on.run([](std::string name) -> task<> {
      for (int i = 0; i < 100; ++i) const file opened = co_await file::open(name);
      file first = co_await file::open(name);
      file second = co_await file::open(name);
      first = std::move(second);
      file third = co_await file::open(name);
      auto never_awaited = third.close();
    }(path("a")));
  }
  EXPECT_EQ(open_descriptor_count(), before);
}

TEST_F(file_test, close_reports_success_and_empties_the_object) {
  made("a", "x");
  run_loop([&]() -> task<> {
    file opened = co_await file::open(path("a"));
    const int number = opened.descriptor();
    const result<void> closed = co_await as_result(opened.close());
    EXPECT_TRUE(closed);
    EXPECT_FALSE(opened.is_open());
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
  });
}

TEST_F(file_test, close_may_be_given_a_time_limit) {
  made("a", "x");
  run_loop([&]() -> task<> {
    file opened = co_await file::open(path("a"));
    const int number = opened.descriptor();
    const result<void> closed = co_await as_result(with_timeout(1h, opened.close()));
    EXPECT_TRUE(closed);
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
  });
}

TEST_F(file_test, close_reports_what_the_kernel_says) {
  made("a", "x");
  EXPECT_DEATH(run_loop([&]() -> task<> {
                 file opened = co_await file::open(path("a"));
                 ::close(opened.descriptor());  // behind its back
                 try {
                   co_await opened.close();
                 } catch (const io_error& error) {
                   assertion_failed(error.what(), "", "", 0);
                 }
               }),
               "close .*/a: Bad file descriptor");
}

TEST_F(file_test, an_open_that_waits_in_a_worker_of_the_kernel_can_be_cancelled) {
  ::mkfifo(path("fifo").c_str(), 0600);
  // With `create` the ring does not try by itself, and a FIFO without a writer waits for one.
  const open_mode waiting = open_mode::read | open_mode::create;
  run_loop([&]() -> task<> {
    std::string message;
    try {
      const file never = co_await with_timeout(20ms, file::open(path("fifo"), waiting));
    } catch (const timeout_error& error) {
      message = error.what();
    }
    EXPECT_EQ(message, "open " + path("fifo") + ": Connection timed out");
    const result<file> late =
        co_await as_result(with_timeout(20ms, file::open(path("fifo"), waiting)));
    EXPECT_FALSE(late);
    if (!late) {
      EXPECT_TRUE(late.error().is_timeout());
    }
    bool went_on = false;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const file opened = co_await file::open(path("fifo"), waiting);
        went_on = true;
      });
      co_await test::settle();
      tasks.cancel();
    });
    EXPECT_FALSE(went_on);
  });
}

TEST_F(file_test, a_read_that_is_cancelled_leaves_the_file_usable) {
  ::mkfifo(path("fifo").c_str(), 0600);
  run_loop([&]() -> task<> {
    file both = co_await file::open(path("fifo"), open_mode::read | open_mode::write);
    std::byte buffer[8];
    const result<std::size_t> late =
        co_await as_result(with_timeout(10ms, both.read_at(buffer, 0)));
    EXPECT_FALSE(late);
    if (!late) {
      EXPECT_TRUE(late.error().is_timeout());
    }
    co_await both.write_all_at(bytes_of("abc"), 0);
    EXPECT_EQ(co_await both.read_at(buffer, 0), 3U);
  });
}

TEST_F(file_test, many_operations_on_one_file_may_run_at_once) {
  made("a", std::string(64 * 1024, 'x'));
  run_loop([&]() -> task<> {
    file both = co_await file::open(path("a"), open_mode::read | open_mode::write);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      for (unsigned i = 0; i < 600; ++i) {  // more than the submission queue holds
        tasks.start(
            [&](unsigned at) -> task<> {
              const char letter = static_cast<char>('a' + at % 26);
              co_await both.write_all_at(bytes_of(std::string_view(&letter, 1)), at);
              std::byte back[1];
              EXPECT_EQ(co_await both.read_at(back, at), 1U);
              EXPECT_EQ(static_cast<char>(back[0]), letter);
            },
            i);
      }
      co_return;
    });
    EXPECT_GT(loop::current().statistics().backlog_count, 0U);
  });
}

TEST_F(file_test, a_full_descriptor_table_is_an_error_of_open) {
  made("a", "x");
  run_loop([&]() -> task<> {
    {
      const test::descriptor_limit none(3);
      const result<file> refused = co_await as_result(file::open(path("a")));
      EXPECT_FALSE(refused);
      if (!refused) {
        EXPECT_EQ(refused.error(), std::errc::too_many_files_open);
      }
    }
    const file opened = co_await file::open(path("a"));
    EXPECT_TRUE(opened.is_open());
  });
}

TEST_F(file_test, operations_allocate_nothing_on_a_warm_loop) {
  made("a", std::string(4096, 'x'));
  run_loop([&]() -> task<> {
    file opened = co_await file::open(path("a"));
    std::byte buffer[64];
    co_await opened.read_at(buffer, 0);
    const file_status warm = co_await opened.stat();
    const std::uint64_t misses = frame_statistics().miss_count;
    for (unsigned i = 0; i < 1000; ++i) {
      co_await opened.read_at(buffer, i);
      const file_status status = co_await opened.stat();
      EXPECT_EQ(status.size, warm.size);
    }
    EXPECT_EQ(frame_statistics().miss_count, misses);
  });
}

TEST_F(file_test, a_file_of_the_body_is_closed_when_its_nursery_is_cancelled_while_a_child_reads) {
  ::mkfifo(path("fifo").c_str(), 0600);
  const std::size_t before = open_descriptor_count();
  {
    loop on(make_kernel("auto"));
    bool reading = false;
    const auto owner = [&]() -> task<> {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        file both = co_await file::open(path("fifo"), open_mode::read | open_mode::write);
        tasks.start([&]() -> task<> {
          std::byte buffer[8];
          reading = true;
          co_await both.read_at(buffer, 0);
        });
        co_await sleep_for(24h);
      });
    };
    const auto main = [&]() -> task<> {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start(owner);
        while (!reading) co_await yield();
        co_await test::settle();
        tasks.cancel();
      });
    };
    on.run(main());
  }
  EXPECT_EQ(open_descriptor_count(), before);
}

TEST_F(file_test, closing_a_file_that_is_being_read_aborts) {
  ::mkfifo(path("fifo").c_str(), 0600);
  EXPECT_DEATH(run_loop([&]() -> task<> {
                 file both = co_await file::open(path("fifo"), open_mode::read | open_mode::write);
                 co_await with_nursery([&](nursery& tasks) -> task<> {
                   tasks.start([&]() -> task<> {
                     std::byte buffer[8];
                     co_await both.read_at(buffer, 0);
                   });
                   co_await test::settle();
                   co_await both.close();
                 });
               }),
               "a file was closed while an operation uses it");
}

TEST_F(file_test, the_task_tree_names_path_and_descriptor) {
  ::mkfifo(path("fifo").c_str(), 0600);
  run_loop([&]() -> task<> {
    file both = co_await file::open(path("fifo"), open_mode::read | open_mode::write);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        std::byte buffer[8];
        co_await both.read_at(buffer, 0);
      });
      co_await test::settle();
      EXPECT_NE(loop::current().task_tree().find("read " + path("fifo") + " (descriptor " +
                                                 std::to_string(both.descriptor()) + ")"),
                std::string::npos);
      tasks.cancel();
    });
  });
}

}  // namespace
}  // namespace rill

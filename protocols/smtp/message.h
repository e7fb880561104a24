// A message of mail (RFC 5322) with everything that MIME adds: texts in any language, HTML beside
// plain text, images within it, attachments read from the disk as they are sent.
//   mail::message letter;
//   letter.from("Ann <ann@example.org>").to("bob@example.org").subject("Gr\u00fc\u00dfe");
//   letter.text("Hello,\nsee what I have found.\n").attach_file("found.pdf");
//   co_await server.send(letter);  // an smtp::client
// Not here: reading messages, signatures (DKIM, S/MIME). Read next: message.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/protocols/smtp/address.h>
#include <rill/protocols/smtp/content.h>
#include <rill/protocols/smtp/envelope.h>
#include <rill/runtime/task.h>

namespace rill::mail {

/// What is attached, or shown within the HTML: bytes, or a file.
struct attachment {
  attachment() {}

  std::string name;        ///< that the receiver sees; never a path
  std::string type;        ///< "application/pdf"
  std::string content_id;  ///< of an inline image; empty: an attachment
  std::string path;        ///< of a file ...
  std::string bytes;       ///< ... or the content itself
};

/// Setters throw std::invalid_argument for what could end a field and begin another: CR, LF and NUL
/// (header injection), other controls, text that is not UTF-8, addresses that are none. Texts of
/// the body may have any line ends.
///
/// Written is ASCII alone, in lines of at most 78 bytes, so every server can take it. Exceptions
/// are an address that has UTF-8 in it, for it cannot be written otherwise (SMTPUTF8), and a word
/// of a field that is longer than a line: it stays whole up to 900 bytes.
class message {
 public:
  message() {}

  message& from(const mailbox& who);
  message& to(const mailbox& who);
  message& cc(const mailbox& who);
  /// Gets it, and stands nowhere in it.
  message& bcc(const mailbox& who);
  message& reply_to(const mailbox& who);
  message& subject(std::string_view text);
  /// Plain text; with html(), the alternative for those who show no HTML.
  message& text(std::string_view body);
  message& html(std::string_view body);
  /// Of the local time zone's offset nothing is told: UTC. Default: when it is opened.
  message& date(std::chrono::sys_seconds when);
  /// "left@right", without brackets. Default: made of random numbers and the sender's domain.
  message& id(std::string_view text);
  /// Any other field: "X-Name". Not those above, nor Content-* and MIME-Version. ASCII is written
  /// as it is, and only folded at its blanks; anything else, "=?", or blanks that folding would
  /// lose make it encoded words (RFC 2047), which mean nothing in fields that are not free text.
  message& field(std::string_view name, std::string_view value);

  message& attach(std::string_view name, std::string_view type, std::string bytes);
  /// Opened when the message is sent. `name` is the last part of the path if it is empty, `type`
  /// follows from it.
  message& attach_file(std::string path, std::string_view name = {}, std::string_view type = {});
  /// Shown by `<img src="cid:ID">` in the HTML. REQUIRES: html().
  message& inline_file(std::string path, std::string_view content_id, std::string_view type = {});
  message& inline_image(std::string_view content_id, std::string_view type, std::string bytes);

  /// From the first sender to everybody that it is to, cc and bcc. Throws std::invalid_argument
  /// without a sender or any of those.
  smtp::envelope envelope() const;

  /// What is sent: files are opened and their sizes asked; they are read as they are sent, 48 KiB
  /// at a time. Each call draws its own boundaries, date and id where these were not given. Errors:
  /// io_error of a file, also one that has another size than before when it is read: then
  ///   nothing of the message is delivered (content_source). Lifetime: the message outlives it.
  [[nodiscard]] task<std::unique_ptr<smtp::content_source>> open() const;

 private:
  class writer;
  class source;

  std::vector<mailbox> from_;
  std::vector<mailbox> to_;
  std::vector<mailbox> cc_;
  std::vector<mailbox> bcc_;
  std::vector<mailbox> reply_to_;
  std::optional<std::string> subject_;
  std::optional<std::string> text_;
  std::optional<std::string> html_;
  std::optional<std::chrono::sys_seconds> date_;
  std::string id_;
  std::vector<std::pair<std::string, std::string>> fields_;
  std::vector<attachment> inline_;
  std::vector<attachment> attached_;
};

/// "application/pdf" for "a.pdf"; "application/octet-stream" for what nobody knows.
std::string_view type_of(std::string_view file_name) noexcept;

}  // namespace rill::mail

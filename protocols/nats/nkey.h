// Keys of users: Ed25519 seeds as nk(1) writes them, and the files of credentials that hold one.
// Seeds are secrets: nothing here writes or prints one.
// Read next: server.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <rill/protocols/nats/server.h>

namespace rill::nats {

/// The public key, "U...", that belongs to the seed of a user, "SU..."; nullopt if it is none.
std::optional<std::string> public_key(std::string_view seed);
/// The server's nonce signed with it, in base64url; nullopt if it is no seed.
std::optional<std::string> sign(std::string_view seed, std::string_view nonce);

/// Reads what stands between the lines "-----BEGIN NATS USER JWT-----" and "-----BEGIN USER NKEY
/// SEED-----" and their ends. nullopt if either is missing or the seed is none.
std::optional<credentials> credentials_from_text(std::string_view text);

}  // namespace rill::nats

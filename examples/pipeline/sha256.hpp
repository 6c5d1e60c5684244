#pragma once
// Sha256: libcrypto's SHA-256, one object for many files.

#include <cstddef>
#include <memory>
#include <span>

#include <openssl/evp.h>

#include "pipeline/messages.hpp"

namespace pipeline {

class Sha256 {
 public:
  Sha256();
  void begin();
  void add(std::span<const std::byte> bytes);
  Digest finish();

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace pipeline

#include "pipeline/sha256.hpp"

#include <stdexcept>

namespace pipeline {
namespace {

void check(int result) {
  if (result != 1) throw std::runtime_error("libcrypto: SHA-256 failed");
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (!context_) throw std::bad_alloc();
}

void Sha256::begin() { check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr)); }

void Sha256::add(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
}

Digest Sha256::finish() {
  Digest digest;
  unsigned int bytes = 0;
  check(EVP_DigestFinal_ex(context_.get(), digest.data(), &bytes));
  return digest;
}

}  // namespace pipeline

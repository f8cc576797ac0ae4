// Latent attention: the absorbed form of one row against the expanded form of many.
#include "runtime/latent_attention.h"

#include <gtest/gtest.h>

#include "runtime/test_models.h"

namespace npumoe {
namespace {

TEST(LatentAttention, OneRowAtATimeEqualsAllAtOnce) {
  const auto model = LoadForTest(GoldenFolder("deepseek-v2-yarn"));
  ASSERT_NE(model, nullptr);
  ThreadPool pool(2);
  const std::vector<int32_t> ids = Expected("deepseek-v2-yarn").Ints("short.ids");
  const auto whole = OpenSession(model, pool);
  const auto single = OpenSession(model, pool, {.cpu_chunk_tokens = 1});
  const std::vector<float> expanded = PrefillAll(*whole, ids).logits;
  EXPECT_LE(RelativeError(PrefillAll(*single, ids).logits, expanded), 1e-5);
}

}  // namespace
}  // namespace npumoe

#include "model/gguf/key_rules.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "model/gguf/test_config.h"

namespace npumoe {
namespace {

// Adds lines "KEY TYPE VALUE" under an architecture's prefix.
void AddKeys(const std::string& architecture, const std::string& lines,
             GgufMetadataBuilder& builder) {
  std::istringstream stream(lines);
  std::string suffix;
  std::string type;
  std::string value;
  while (stream >> suffix >> type >> value) {
    const std::string key = architecture + "." + suffix;
    if (type == "u32") builder.AddU32(key, static_cast<uint32_t>(std::stoul(value)));
    if (type == "f32") builder.AddF32(key, std::stof(value));
    if (type == "bool") builder.AddBool(key, value == "true");
    if (type == "str") builder.AddString(key, value);
  }
}

std::string QwenError(const std::string& line) {
  const auto config = ConfigWith("Qwen3-30B-A3B.config.json", "",
                                 [&](GgufMetadataBuilder& b) { AddKeys("qwen3moe", line, b); });
  return config.ok() ? "no error" : config.status().message();
}

TEST(GgufKeys, RefusesAKeyThatItDoesNotKnow) {
  const std::string error = QwenError("attention.surprise u32 7");
  ExpectSays(error, "key 'qwen3moe.attention.surprise' is u32 7");
  ExpectSays(error, "does not know the key");
  ExpectSays(error, "--remove-metadata qwen3moe.attention.surprise");
}

TEST(GgufKeys, PassesKeysOfOtherPrefixesOver) {
  const auto config = ConfigWith("Qwen3-30B-A3B.config.json", "", [](GgufMetadataBuilder& b) {
    b.AddU32("quantize.imatrix.entries_count", 7);
    b.AddU32("qwen3moe2.attention.surprise", 7);
  });
  EXPECT_TRUE(config.ok()) << config.status().message();
}

class ChangingKey : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};
INSTANTIATE_TEST_SUITE_P(
    All, ChangingKey,
    ::testing::Values(std::pair("attention.causal bool false", "true"),
                      std::pair("use_parallel_residual bool true", "false"),
                      std::pair("rope.scaling.attn_factor f32 1.19", "absent or 1"),
                      std::pair("rope.scaling.yarn_attn_factor f32 0.5", "absent or 1"),
                      std::pair("rope.scaling.yarn_log_multiplier f32 0.1", "absent or 0"),
                      std::pair("rope.scaling.yarn_ext_factor f32 0.5", "absent or 1"),
                      std::pair("attention.max_alibi_bias f32 8", "absent or 0"),
                      std::pair("attn_logit_softcapping f32 30", "absent or 0"),
                      std::pair("final_logit_softcapping f32 30", "absent or 0"),
                      std::pair("nextn_predict_layers u32 1", "absent or 0"),
                      std::pair("logit_scale f32 6", "absent or 1"),
                      std::pair("interleave_moe_layer_step u32 2", "absent or 1"),
                      std::pair("attention.q_lora_rank u32 1536", "absent or 0"),
                      std::pair("rope.freq_base_swa f32 10000", "'qwen3moe.rope.freq_base'"),
                      std::pair("tensor_data_layout str other", "'reference'"),
                      std::pair("attention.causal str yes", "true")));

TEST_P(ChangingKey, IsRefusedWithWhatIsAllowed) {
  const auto& [line, allowed] = GetParam();
  const std::string error = QwenError(line);
  ExpectSays(error, "qwen3moe." + std::string(line).substr(0, std::string(line).find(' ')));
  ExpectSays(error, allowed);
}

TEST(GgufKeys, AcceptsKeysWhoseValueChangesNothing) {
  EXPECT_EQ(QwenError("attention.causal bool true\n"
                      "use_parallel_residual bool false\n"
                      "rope.scaling.attn_factor f32 1\n"
                      "rope.scaling.yarn_ext_factor f32 -1\n"
                      "rope.scaling.finetuned bool false\n"
                      "attention.max_alibi_bias f32 0\n"
                      "final_logit_softcapping f32 0\n"
                      "logit_scale f32 1\n"
                      "rope.freq_base_swa f32 1000000\n"
                      "attention.sliding_window_pattern u32 4\n"
                      "tensor_data_layout str reference\n"),
            "no error");
}

TEST(GgufKeys, RefusesAWindowOfSomeLayersWhereAllHaveIt) {
  ExpectSays(QwenError("attention.sliding_window u32 128 attention.sliding_window_pattern u32 2"),
             "whose layers all have the window");
  EXPECT_EQ(QwenError("attention.sliding_window u32 128 attention.sliding_window_pattern u32 0"),
            "no error");
}

TEST(GgufKeys, RefusesGraniteWithoutRotaryPositions) {
  const auto config = ConfigWith(
      "granite-moe-1b-a400m.derived.json", "",
      [](GgufMetadataBuilder& b) { b.AddBool("granitemoe.rope.scaling.finetuned", false); });
  ExpectSays(config.status().message(), "rotary positions");
}

TEST(GgufKeys, RefusesRoutingThatTheArchitectureDoesNotHave) {
  const auto with = [](const std::string& name, const std::string& prefix, bool norm) {
    const auto config = ConfigWith(name, "", [&](GgufMetadataBuilder& b) {
      b.AddBool(prefix + ".expert_weights_norm", norm);
    });
    return config.ok() ? "no error" : config.status().message();
  };
  ExpectSays(with("gpt-oss-20b.config.json", "gpt-oss", false), "makes it true");
  EXPECT_EQ(with("gpt-oss-20b.config.json", "gpt-oss", true), "no error");
  ExpectSays(with("Phi-3.5-MoE-instruct.config.json", "phimoe", true), "makes it false");
}

TEST(GgufKeys, RefusesTwoDifferentEpsilonsOfALayerNorm) {
  const std::string key = "phimoe.attention.layer_norm_epsilon";
  const auto config = ConfigWith("Phi-3.5-MoE-instruct.config.json", key,
                                 [&](GgufMetadataBuilder& b) { b.AddF32(key, 0.5f); });
  ExpectSays(config.status().message(), "contradicts attention.layer_norm_rms_epsilon");
}

// The keys of published files, as other engines print them when they load one.
struct PublishedFile {
  const char* architecture;
  int vocabulary;
  bool has_rope_factors;
  const char* keys;
};
const PublishedFile kPublished[] = {
    {"qwen3moe", 151936, false,
     "block_count u32 48 context_length u32 262144 embedding_length u32 2048 "
     "feed_forward_length u32 6144 attention.head_count u32 32 attention.head_count_kv u32 4 "
     "rope.freq_base f32 10000000 attention.layer_norm_rms_epsilon f32 0.000001 "
     "expert_used_count u32 8 attention.key_length u32 128 attention.value_length u32 128 "
     "expert_count u32 128 expert_feed_forward_length u32 768 "
     "expert_shared_feed_forward_length u32 0"},
    {"qwen2moe", 151936, false,
     "block_count u32 24 context_length u32 8192 embedding_length u32 2048 "
     "feed_forward_length u32 5632 attention.head_count u32 16 attention.head_count_kv u32 16 "
     "rope.freq_base f32 1000000 attention.layer_norm_rms_epsilon f32 0.000001 "
     "expert_used_count u32 4 expert_count u32 60 expert_feed_forward_length u32 1408 "
     "expert_shared_feed_forward_length u32 5632"},
    {"olmoe", 50304, false,
     "block_count u32 16 context_length u32 4096 embedding_length u32 2048 "
     "feed_forward_length u32 1024 attention.head_count u32 16 attention.head_count_kv u32 16 "
     "rope.freq_base f32 10000 attention.layer_norm_rms_epsilon f32 0.00001 expert_count u32 64 "
     "expert_used_count u32 8"},
    {"llama", 32000, false,
     "context_length u32 32768 embedding_length u32 4096 block_count u32 32 "
     "feed_forward_length u32 14336 rope.dimension_count u32 128 attention.head_count u32 32 "
     "attention.head_count_kv u32 8 expert_count u32 8 expert_used_count u32 2 "
     "attention.layer_norm_rms_epsilon f32 0.00001 rope.freq_base f32 1000000 "
     "vocab_size u32 32000"},
    {"granitemoe", 49155, false,
     "block_count u32 24 context_length u32 4096 embedding_length u32 1024 "
     "feed_forward_length u32 512 attention.head_count u32 16 attention.head_count_kv u32 8 "
     "rope.freq_base f32 10000 attention.layer_norm_rms_epsilon f32 0.000001 expert_count u32 32 "
     "expert_used_count u32 8 vocab_size u32 49155 rope.dimension_count u32 64 "
     "attention.scale f32 0.015625 embedding_scale f32 12 residual_scale f32 0.22 "
     "logit_scale f32 6"},
    {"phimoe", 32064, true,
     "context_length u32 131072 rope.scaling.original_context_length u32 4096 "
     "embedding_length u32 4096 feed_forward_length u32 6400 block_count u32 32 "
     "attention.head_count u32 32 attention.head_count_kv u32 8 "
     "attention.layer_norm_rms_epsilon f32 0.00001 rope.dimension_count u32 128 "
     "rope.freq_base f32 10000 attention.sliding_window u32 131072 expert_used_count u32 2 "
     "expert_count u32 16 rope.scaling.attn_factor f32 1.19024"},
    {"deepseek2", 102400, false,
     "block_count u32 27 context_length u32 163840 embedding_length u32 2048 "
     "feed_forward_length u32 10944 attention.head_count u32 16 attention.head_count_kv u32 1 "
     "rope.freq_base f32 10000 attention.layer_norm_rms_epsilon f32 0.000001 "
     "expert_used_count u32 6 expert_group_count u32 1 expert_group_used_count u32 1 "
     "leading_dense_block_count u32 1 vocab_size u32 102400 attention.kv_lora_rank u32 512 "
     "attention.key_length u32 576 attention.value_length u32 512 "
     "attention.key_length_mla u32 192 attention.value_length_mla u32 128 "
     "expert_feed_forward_length u32 1408 expert_count u32 64 expert_shared_count u32 2 "
     "expert_weights_scale f32 1 expert_weights_norm bool false expert_gating_func u32 1 "
     "rope.dimension_count u32 64 rope.scaling.type str yarn rope.scaling.factor f32 40 "
     "rope.scaling.original_context_length u32 4096 rope.scaling.yarn_log_multiplier f32 0.0707"},
    {"gpt-oss", 201088, false,
     "block_count u32 24 context_length u32 131072 embedding_length u32 2880 "
     "feed_forward_length u32 2880 attention.head_count u32 64 attention.head_count_kv u32 8 "
     "rope.freq_base f32 150000 attention.layer_norm_rms_epsilon f32 0.00001 expert_count u32 32 "
     "expert_used_count u32 4 attention.key_length u32 64 attention.value_length u32 64 "
     "attention.sliding_window u32 128 expert_feed_forward_length u32 2880 "
     "rope.scaling.type str yarn rope.scaling.factor f32 32 "
     "rope.scaling.original_context_length u32 4096"},
};

class PublishedKeys : public ::testing::TestWithParam<PublishedFile> {};
INSTANTIATE_TEST_SUITE_P(Architectures, PublishedKeys, ::testing::ValuesIn(kPublished));

TEST_P(PublishedKeys, AreAllKnown) {
  const PublishedFile& published = GetParam();
  GgufMetadataBuilder builder;
  builder.AddString("general.architecture", published.architecture);
  AddKeys(published.architecture, published.keys, builder);
  const auto file = FileWith({}, 0, builder).Parse();
  ASSERT_TRUE(file.ok()) << file.status().message();
  const int hidden = static_cast<int>(
      *file->metadata().Int(std::string(published.architecture) + ".embedding_length", 1, 1 << 20));
  std::map<std::string, TensorView> tensors;
  tensors["token_embd.weight"] = {DType::kF32, Shape({published.vocabulary, hidden}), nullptr};
  const std::vector<float> factors(64, 1.5f);
  if (published.has_rope_factors) {
    tensors[kGgufLongFactors] = FakeGguf::ViewOf(factors);
    tensors[kGgufShortFactors] = FakeGguf::ViewOf(factors);
  }
  const auto config = ConfigFromGguf(file->metadata(), tensors);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->hidden_size, hidden);
}

}  // namespace
}  // namespace npumoe

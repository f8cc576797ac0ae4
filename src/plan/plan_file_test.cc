#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "plan/plan.h"
#include "plan/sample_plan.h"

namespace npumoe {
namespace {

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

// The message of the refusal of the sample plan's file after `change`.
std::string Refusal(const std::function<void(Json&)>& change) {
  Json json = Json::parse(SerializePlan(SamplePlan()));
  change(json);
  const auto plan = ParsePlan(json.dump(), "p.plan.json");
  if (plan.ok()) return "accepted";
  EXPECT_EQ(plan.status().message().rfind("p.plan.json", 0), 0u) << plan.status().message();
  return plan.status().message();
}

void ExpectEqual(const Prediction& a, const Prediction& b) {
  EXPECT_EQ(a.prompt_tokens, b.prompt_tokens);
  EXPECT_EQ(a.time_ms.value, b.time_ms.value);
  EXPECT_EQ(a.time_ms.spread, b.time_ms.spread);
  EXPECT_EQ(a.energy_j.value, b.energy_j.value);
  EXPECT_EQ(a.energy_j.spread, b.energy_j.spread);
  EXPECT_EQ(a.cpu_busy_ms.value, b.cpu_busy_ms.value);
  EXPECT_EQ(a.npu_busy_ms.value, b.npu_busy_ms.value);
  EXPECT_EQ(a.launches, b.launches);
  EXPECT_EQ(a.padding, b.padding);
  EXPECT_EQ(a.spill, b.spill);
  EXPECT_EQ(a.npu_share, b.npu_share);
  EXPECT_EQ(a.npu_weight_bytes, b.npu_weight_bytes);
  EXPECT_EQ(a.io_bytes, b.io_bytes);
}

TEST(PlanFile, ReadsBackExactlyWhatWasWritten) {
  const Plan plan = SamplePlan();
  const auto read = ParsePlan(SerializePlan(plan), "p");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->Hash(), plan.Hash());  // covers every choice, size, origin and layer
  EXPECT_EQ(read->objective, plan.objective);
  EXPECT_EQ(read->min_npu_share, plan.min_npu_share);
  EXPECT_EQ(read->notes, plan.notes);
  ExpectEqual(read->predicted, plan.predicted);
  ExpectEqual(read->predicted_cpu, plan.predicted_cpu);
  EXPECT_EQ(SerializePlan(*read), SerializePlan(plan));
}

TEST(PlanFile, TakesASharedExpertOnlyInAProgramOfItsOwn) {
  const auto with_experts = [](const char* experts) {
    return Refusal([&](Json& json) {
      json["layers"][0]["programs"][0] = {{"form", "C"}, {"experts", Json::parse(experts)}};
    });
  };
  EXPECT_EQ(with_experts("[[8, 512]]"), "accepted");
  EXPECT_CONTAINS(with_experts("[[3, 64], [8, 512]]"),
                  "the shared expert, 8, needs a program of its own");
  EXPECT_CONTAINS(with_experts("[[9, 512]]"), "an expert from 0 to 8");
}

TEST(PlanFile, RefusesBucketsThatDoNotAscendOrFit) {
  const auto with_buckets = [](const char* buckets) {
    return Refusal([&](Json& json) {
      json["layers"][0]["programs"][0]["smaller_buckets"] = Json::parse(buckets);
    });
  };
  EXPECT_EQ(with_buckets("[[16, 16], [64, 48]]"), "accepted");
  EXPECT_CONTAINS(with_buckets("[[32, 16], [16, 48]]"), "buckets ascend");
  EXPECT_CONTAINS(with_buckets("[[65, 48]]"), "each from 1 to the expert's");
  EXPECT_CONTAINS(with_buckets("[[16]]"), "a list of 2 capacities");
  EXPECT_CONTAINS(with_buckets("[[16, 0]]"), "each from 1 to the expert's");
  EXPECT_CONTAINS(with_buckets("[7]"), "a list of 2 capacities");
}

TEST(PlanFile, RefusesAnUnknownWeightFormat) {
  const std::string text = Refusal([](Json& json) { json["weight_format"] = "fp8"; });
  EXPECT_CONTAINS(text, "allowed are fp16, int8, int8-block32, int4-block32, lut4, lut6");
}

TEST(PlanFile, TakesAttentionAndHeadForFp16WhereNothingIsSaid) {
  const std::string text = SerializePlan(SamplePlan());
  EXPECT_EQ(ParsePlan(text, "p")->dense_weight_format, WeightFormat::kInt8);
  Json without = Json::parse(text);
  without.erase("dense_weight_format");
  const Result<Plan> read = ParsePlan(without.dump(), "p");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->dense_weight_format, WeightFormat::kF16);
  EXPECT_CONTAINS(Refusal([](Json& json) { json["dense_weight_format"] = "fp8"; }),
                  "'fp8' is not known; allowed are fp16, int8");
  EXPECT_CONTAINS(Refusal([](Json& json) { json["dense_weight_format"] = 8; }),
                  "dense_weight_format");
}

TEST(PlanFile, RefusesASharedExpertOfAModelWithoutOne) {
  const std::string text = Refusal([](Json& json) {
    json["shared_intermediate_size"] = 0;
    json["layers"][0]["programs"][0]["experts"] = Json::parse("[[8, 512]]");
  });
  EXPECT_CONTAINS(text, "an expert from 0 to 7");
}

TEST(PlanFile, KeepsALineForEveryProgram) {
  const std::string text = SerializePlan(SamplePlan());
  EXPECT_CONTAINS(text,
                  "\n      {\"form\": \"C\", \"experts\": [[3, 64], [7, 48]], "
                  "\"smaller_buckets\": [[16,16],[32,48]]},\n");
  EXPECT_CONTAINS(text, "\n    {\"layer\": 3, \"programs\": []}\n");
}

TEST(PlanFile, WithoutLayersIsValid) {
  Plan plan = SamplePlan();
  plan.layers.clear();
  EXPECT_TRUE(ParsePlan(SerializePlan(plan), "p").ok());
}

TEST(PlanFile, IsRefusedWhenEmptyTruncatedOrNoObject) {
  const std::string text = SerializePlan(SamplePlan());
  for (const std::string& broken :
       {std::string(), text.substr(0, text.size() / 2), std::string("[]"), std::string("null")}) {
    EXPECT_FALSE(ParsePlan(broken, "p").ok()) << broken.size();
  }
}

TEST(PlanFile, OfAnotherVersionSaysWhichIsRead) {
  const std::string text = Refusal([](Json& j) { j["version"] = 1; });
  EXPECT_CONTAINS(text, "version 1");
  EXPECT_CONTAINS(text, "reads version 3");
  EXPECT_CONTAINS(text, "make it again with `npumoe plan`");
}

TEST(PlanFile, IsRefusedWithAFieldThatWouldBeIgnored) {
  EXPECT_CONTAINS(Refusal([](Json& j) { j["extra"] = 1; }), "extra");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["layers"][0]["extra"] = 1; }), "extra");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["layers"][0]["programs"][0]["extra"] = 1; }), "extra");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["predicted"]["extra"] = 1; }), "extra");
}

TEST(PlanFile, IsRefusedWithoutAnyOneOfItsFields) {
  const Json whole = Json::parse(SerializePlan(SamplePlan()));
  for (const auto& [key, value] : whole.items()) {
    if (key == "dense_weight_format") continue;  // plans from before it was there have none
    EXPECT_CONTAINS(Refusal([&key = key](Json& j) { j.erase(key); }), key);
  }
  for (const auto& [key, value] : whole["predicted"].items()) {
    EXPECT_CONTAINS(Refusal([&key = key](Json& j) { j["predicted"].erase(key); }), key);
  }
}

TEST(PlanFile, RefusesCapacitiesThatAreNoRowCounts) {
  for (const Json& capacity :
       {Json(0), Json(-16), Json(65'537), Json(16.5), Json("16"), Json(nullptr)}) {
    const std::string text =
        Refusal([&](Json& j) { j["layers"][0]["programs"][0]["experts"][1][1] = capacity; });
    EXPECT_CONTAINS(text, "layers[0]: programs[0]: experts[1]");
    EXPECT_CONTAINS(text, capacity.dump());
  }
}

TEST(PlanFile, RefusesExpertsOutOfRange) {
  for (const Json& expert : {Json(9), Json(-1), Json(1e12)}) {
    EXPECT_CONTAINS(
        Refusal([&](Json& j) { j["layers"][0]["programs"][0]["experts"][0][0] = expert; }),
        "an expert from 0 to 8");
  }
}

TEST(PlanFile, RefusesAnExpertThatStandsTwiceInALayer) {
  EXPECT_CONTAINS(Refusal([](Json& j) { j["layers"][0]["programs"][1]["experts"][0][0] = 7; }),
                  "layers[0]: expert 7 stands in it twice");
}

TEST(PlanFile, RefusesAProgramWithoutExperts) {
  EXPECT_CONTAINS(
      Refusal([](Json& j) { j["layers"][1]["programs"][0]["experts"] = Json::array(); }),
      "at least one expert");
}

TEST(PlanFile, RefusesLayersThatDoNotAscend) {
  EXPECT_CONTAINS(Refusal([](Json& j) { j["layers"][1]["layer"] = 0; }), "ascend");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["layers"][0]["layer"] = -1; }), "layer");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["layers"][2]["layer"] = 10'000; }), "10000");
}

TEST(PlanFile, RefusesUnknownFormsAndChoices) {
  EXPECT_CONTAINS(Refusal([](Json& j) { j["layers"][0]["programs"][0]["form"] = "D"; }), "'D'");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["strategy"] = "best"; }), "'best'");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["objective"] = "best"; }), "'best'");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["overflow"] = "best"; }), "'best'");
}

TEST(PlanFile, RefusesTwoCapacitiesInAFormThatSharesOne) {
  EXPECT_CONTAINS(Refusal([](Json& j) { j["layers"][0]["programs"][1]["experts"][0][1] = 32; }),
                  "form A");
}

TEST(PlanFile, RefusesMoreProgramsThanAnyDeviceLoads) {
  Plan plan = SamplePlan();
  plan.num_experts = 65'536;
  plan.layers = {{0, {}}, {1, {}}};
  for (LayerPlan& layer : plan.layers) {
    for (int expert = 0; expert < 50'001; ++expert) {
      layer.programs.push_back({GraphForm::kDenseChains, {{expert, 16}}});
    }
  }
  EXPECT_CONTAINS(ParsePlan(SerializePlan(plan), "p").status().message(), "100002 programs");
}

TEST(PlanFile, RefusesChunksThatAreNoMultipleOfABlock) {
  for (const int tokens : {1, 31, 33, 500}) {
    EXPECT_CONTAINS(Refusal([&](Json& j) { j["chunk_tokens"] = tokens; }),
                    "a multiple of 32 is needed, found " + std::to_string(tokens));
  }
}

TEST(PlanFile, RefusesProgramsOfTheStrategyThatPlansNone) {
  EXPECT_CONTAINS(Refusal([](Json& j) { j["strategy"] = "cpu"; }), "strategy");
  const auto without_programs = [](Json& j) {
    j["strategy"] = "cpu";
    for (Json& layer : j["layers"]) layer["programs"] = Json::array();
  };
  EXPECT_EQ(Refusal(without_programs), "accepted");
}

TEST(PlanFile, RefusesSizesOutOfRange) {
  EXPECT_CONTAINS(Refusal([](Json& j) { j["chunk_tokens"] = 0; }), "chunk_tokens");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["num_experts"] = 1e9; }), "num_experts");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["experts_per_token"] = 9; }), "experts_per_token");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["min_npu_share"] = 1.5; }), "min_npu_share");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["predicted"]["padding"] = 2; }), "padding");
  EXPECT_CONTAINS(Refusal([](Json& j) { j["predicted"]["time_ms"]["value"] = -1; }), "value");
}

}  // namespace
}  // namespace npumoe

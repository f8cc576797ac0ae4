#include "calibrate/trace_file.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "calibrate/test_traces.h"

namespace npumoe {
namespace {

// The text with `from` replaced and the hash made to fit, so that the other checks are reached.
std::string Altered(const std::string& text, const std::string& from, const std::string& to) {
  std::string body = text.substr(0, text.rfind("hash "));
  const size_t at = body.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  body.replace(at, from.size(), to);
  return body + "hash " + Hasher().Add(std::string_view(body)).Hex() + "\n";
}

void ExpectRefused(const std::string& text, const std::string& words) {
  const Result<RoutingTrace> trace = ParseTrace(text, "r.trace");
  ASSERT_FALSE(trace.ok());
  EXPECT_EQ(trace.status().message().rfind("r.trace", 0), 0u);
  EXPECT_NE(trace.status().message().find(words), std::string::npos) << trace.status().message();
}

TEST(TraceFile, KeepsIdsWeightsAndBorders) {
  const RoutingTrace written = MakeRandomTrace({});
  const Result<RoutingTrace> read = ParseTrace(SerializeTrace(written), "r.trace");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->sequence_starts, written.sequence_starts);
  EXPECT_EQ(read->layers[1].layer, 3);
  EXPECT_EQ(read->layers[1].ids, written.layers[1].ids);
  EXPECT_EQ(read->layers[1].weights, written.layers[1].weights);
}

TEST(TraceFile, NeedsNoWeights) {
  RoutingTrace written = MakeRandomTrace({});
  written.layers[0].weights.clear();
  const Result<RoutingTrace> read = ParseTrace(SerializeTrace(written), "r.trace");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_TRUE(read->layers[0].weights.empty());
  EXPECT_FALSE(read->layers[1].weights.empty());
}

TEST(TraceFile, RefusesEveryTruncation) {
  const std::string text = SerializeTrace(MakeRandomTrace({}));
  for (size_t length = 0; length < text.size(); length += 11) {
    EXPECT_FALSE(ParseTrace(std::string_view(text).substr(0, length), "r.trace").ok()) << length;
  }
}

TEST(TraceFile, RefusesAChangedByte) {
  std::string text = SerializeTrace(MakeRandomTrace({}));
  const size_t at = text.find("ids ") + 8;
  text[at] = text[at] == 'A' ? 'B' : 'A';
  ExpectRefused(text, "hash");
}

TEST(TraceFile, RefusesAnotherVersion) {
  ExpectRefused(Altered(SerializeTrace(MakeRandomTrace({})), "trace 1", "trace 2"),
                "npumoe-routing-trace is '2'");
}

TEST(TraceFile, RefusesATokenCountThatTheIdsDoNotHave) {
  ExpectRefused(Altered(SerializeTrace(MakeRandomTrace({})), "tokens 202", "tokens 4000000000"),
                "ids holds 808 bytes; expected 16000000000");
}

TEST(TraceFile, RefusesAnExpertBeyondTheCount) {
  ExpectRefused(Altered(SerializeTrace(MakeRandomTrace({})), "experts 8", "experts 4"),
                "allowed are 0 to 3");
}

TEST(TraceFile, RefusesABorderThatIsNoNumber) {
  ExpectRefused(Altered(SerializeTrace(MakeRandomTrace({})), "starts 0 70", "starts 0 7x"),
                "sequence_starts is '7x'");
}

TEST(TraceFile, RefusesTextAfterItsEnd) {
  ExpectRefused(SerializeTrace(MakeRandomTrace({})) + "layer 9\n", "after the hash");
}

TEST(TraceFile, ExportsOneCsvLinePerAssignment) {
  RoutingTrace trace = MakeRandomTrace({.layers = {4}, .sequence_tokens = {1, 1}});
  trace.layers[0].ids = {5, 2, 0, 7};
  trace.layers[0].weights = {0.75f, 0.25f, 0.5f, 0.5f};
  EXPECT_EQ(TraceAsCsv(trace),
            "sequence,token,layer,slot,expert,weight\n"
            "0,0,4,0,5,0.75\n0,0,4,1,2,0.25\n1,1,4,0,0,0.5\n1,1,4,1,7,0.5\n");
}

}  // namespace
}  // namespace npumoe

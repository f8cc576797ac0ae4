#include "npu/device_registry.h"

#include <gtest/gtest.h>

namespace npumoe {
namespace {

ChipProfile LoadM1() { return *LoadChipProfile("m1", {NPUMOE_SOURCE_DIR "/chips"}); }

TEST(DeviceRegistry, AlwaysHasTheEmulator) {
  ThreadPool pool(1);
  const Result<std::unique_ptr<Device>> device = MakeDevice("emulator", LoadM1(), pool);
  ASSERT_TRUE(device.ok()) << device.status().message();
  EXPECT_EQ((*device)->info().name, "emulator");
  EXPECT_NE((*device)->info().description.find("m1 (modelled time and energy)"), std::string::npos);
}

TEST(DeviceRegistry, MakesWhatItListsAsAvailableAndNothingElse) {
  ThreadPool pool(1);
  for (const DeviceListing& listing : ListDevices()) {
    const auto device = MakeDevice(listing.name, LoadM1(), pool);
    EXPECT_EQ(device.ok(), listing.available) << listing.name;
    EXPECT_FALSE(listing.note.empty());
    if (!device.ok()) {
      EXPECT_EQ(device.status().code(), StatusCode::kUnsupported);
    }
  }
}

TEST(DeviceRegistry, ListsTheKnownNamesForAnUnknownOne) {
  ThreadPool pool(1);
  const Status status = MakeDevice("tpu", LoadM1(), pool).status();
  EXPECT_EQ(status.code(), StatusCode::kUsage);
  // Targets of devices that have several may follow.
  EXPECT_TRUE(
      status.message().starts_with("device 'tpu' is not known; known: emulator, coreml, openvino"))
      << status.message();
}

TEST(DeviceRegistry, RefusesAProfileWithoutFigures) {
  ThreadPool pool(1);
  EXPECT_EQ(MakeDevice("emulator", ChipProfile(), pool).status().code(), StatusCode::kInvalidInput);
}

}  // namespace
}  // namespace npumoe

#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

namespace npumoe {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  Files() {
    std::string pattern = (fs::temp_directory_path() / "npumoe-files-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Files() override { fs::remove_all(folder_); }

  fs::path Write(const std::string& name, std::string_view contents) {
    fs::path path = folder_ / name;
    std::ofstream(path, std::ios::binary) << contents;
    return path;
  }
  std::string Contents(const fs::path& path) { return ReadTextFile(path, 1 << 20).value(); }
  size_t FilesInFolder() {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }

  fs::path folder_;
};

// Files of this process may not grow beyond `bytes` while this lives: a full disk in miniature.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST_F(Files, AreWrittenFromPiecesInOrder) {
  const fs::path path = folder_ / "pieces";
  const std::string_view pieces[] = {"head", "", "body", "tail"};
  ASSERT_TRUE(WriteFileAtomically(path, pieces).ok());
  EXPECT_EQ(Contents(path), "headbodytail");
  EXPECT_EQ(FilesInFolder(), 1u);
}

TEST_F(Files, AreMappedWhole) {
  const auto file = MappedFile::Open(Write("weights", "0123456789"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto bytes = (*file)->bytes();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "0123456789");
}

TEST_F(Files, MapToNothingWhenEmpty) {
  const auto file = MappedFile::Open(Write("empty", ""));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_TRUE((*file)->bytes().empty());
}

TEST_F(Files, AreReportedByNameWhenMissing) {
  const auto file = MappedFile::Open(folder_ / "absent.safetensors");
  EXPECT_EQ(file.status().code(), StatusCode::kNotFound);
  EXPECT_NE(file.status().message().find("absent.safetensors"), std::string::npos);
}

TEST_F(Files, AreReportedMissingBelowAFile) {
  const fs::path path = Write("plain", "x") / "model.safetensors";
  EXPECT_EQ(MappedFile::Open(path).status().code(), StatusCode::kNotFound);
}

TEST_F(Files, AreRefusedWhenTheyAreFolders) {
  EXPECT_EQ(MappedFile::Open(folder_).status().code(), StatusCode::kInvalidInput);
  EXPECT_EQ(ReadTextFile(folder_, 100).status().code(), StatusCode::kInvalidInput);
  EXPECT_EQ(WriteFileAtomically(folder_, "x").code(), StatusCode::kInvalidInput);
}

TEST_F(Files, AreRefusedForMappingWhenTheyArePipesWithoutWaiting) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(MappedFile::Open(pipe).status().code(), StatusCode::kInvalidInput);
}

// Nobody writes to the pipe: a reader that opened it in the usual way would wait for ever.
TEST_F(Files, AreRefusedForReadingWhenTheyArePipesWithoutWaiting) {
  const fs::path pipe = folder_ / "config.json";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const Status status = ReadTextFile(pipe, 100).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidInput);
  EXPECT_NE(status.message().find("config.json: is a device or pipe"), std::string::npos)
      << status.message();
}

TEST_F(Files, AreReadFromAPipeWhereAnyKindIsAllowed) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "a prompt", 8), 8);
  ::close(ends[1]);
  const auto text =
      ReadTextFile("/dev/fd/" + std::to_string(ends[0]), 100, FileKind::kAny);  // as <(command)
  ::close(ends[0]);
  ASSERT_TRUE(text.ok()) << text.status().message();
  EXPECT_EQ(*text, "a prompt");
}

TEST_F(Files, AreReadUpToTheLimitAndNoFurther) {
  const fs::path path = Write("text", "0123456789");
  EXPECT_EQ(*ReadTextFile(path, 10), "0123456789");
  EXPECT_EQ(ReadTextFile(path, 9).status().code(), StatusCode::kResourceExhausted);
}

TEST_F(Files, WithoutAnEndAreReadToTheLimitOnly) {
  EXPECT_EQ(ReadTextFile("/dev/zero", 1 << 20, FileKind::kAny).status().code(),
            StatusCode::kResourceExhausted);
}

TEST_F(Files, AreReplacedWhole) {
  const fs::path path = Write("plan.json", "a much longer old text");
  ASSERT_TRUE(WriteFileAtomically(path, "new").ok());
  EXPECT_EQ(Contents(path), "new");
  EXPECT_EQ(FilesInFolder(), 1u);
}

TEST_F(Files, AreCreatedWithThePermissionsOfTheUsersMask) {
  const fs::path path = folder_ / "plan.json";
  const mode_t mask = ::umask(0022);
  const Status status = WriteFileAtomically(path, "x");
  ::umask(mask);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0644));
}

TEST_F(Files, KeepTheOldContentsWhenTheDiskIsFull) {
  const fs::path path = Write("plan.json", "old");
  Status status;
  {
    const FileSizeLimit limit(4096);
    status = WriteFileAtomically(path, std::string(10000, 'x'));
  }
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(Contents(path), "old");
  EXPECT_EQ(FilesInFolder(), 1u);
}

TEST_F(Files, ReportAFullDeviceAsExhausted) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  const Status status = WriteFileAtomically("/dev/full", "x");
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("free some space"), std::string::npos) << status.message();
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST_F(Files, AreRefusedInAFolderThatDoesNotExist) {
  const Status status = WriteFileAtomically(folder_ / "absent" / "plan.json", "x");
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_NE(status.message().find("plan.json"), std::string::npos);
}

TEST_F(Files, StayBehindTheirLinks) {
  const fs::path target = Write("target", "old");
  const fs::path link = folder_ / "link";
  fs::create_symlink(target, link);
  ASSERT_TRUE(WriteFileAtomically(link, "new").ok());
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(Contents(target), "new");
}

TEST_F(Files, AreWrittenBesideLeftOversOfAKilledProcess) {
  const fs::path path = folder_ / "plan.json";
  Write("plan.json." + std::to_string(::getpid()) + "-0.tmp", "left over");
  ASSERT_TRUE(WriteFileAtomically(path, "new").ok());
  EXPECT_EQ(Contents(path), "new");
}

#ifdef __SANITIZE_ADDRESS__
// The rest of the last page could be read without anybody noticing.
TEST_F(Files, EndForTheAddressSanitizerWhereTheyEnd) {
  const auto file = MappedFile::Open(Write("nine", "123456789")).value();
  EXPECT_EQ(file->bytes()[8], std::byte{'9'});
  EXPECT_DEATH((void)*const_cast<const volatile std::byte*>(file->bytes().data() + 9), "poison");
}
#endif

}  // namespace
}  // namespace npumoe

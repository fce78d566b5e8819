package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code gatun encode} and {@code gatun probe} refuse. */
class EncoderCommandsTest {
  @TempDir Path folder;

  @Test
  void modelsWithoutAnEncoderAndBadArgumentsAreTheUsersError() throws IOException {
    Path data = TestData.idx(folder.resolve("data"), 40, 8, 8);
    Path run = folder.resolve("run");
    Cli.run(Cli.training(data, run, "--preset", "tiny", "--steps", 1)).succeeds();
    Path npy = folder.resolve("features.npy");
    String none = "gated-pixelcnn has no encoder: features are those of an autoencoder or a VAE";
    Cli.run("encode", run, "--data", data, "--out", npy).fails(2, none);
    Cli.run("probe", run, "--data", data).fails(2, none);
    Cli.run("encode", run, "--data", data).fails(2, "--out");
    Cli.run("encode", run, "--data", data, "--out", folder.resolve("x.png")).fails(2, ".npy");
    Cli.run("encode", run, "--data", data, "--out", npy, "--split", "valid")
        .fails(2, "--split valid", "train or test");
    Cli.run("encode", run, "--data", data, "--out", npy, "--limit", 0).fails(2, "--limit 0");
    Cli.run("probe", run, "--data", data, "--labels", "10,x").fails(2, "--labels x");
    Cli.run("probe", run, "--data", data, "--labels", "0").fails(2, "--labels 0");
    Cli.run("probe", run, "--data", data, "--out", npy).fails(2, ".png");
    Cli.run("probe", folder.resolve("nothing"), "--data", data).fails(2, "nothing");
    assertFalse(Files.exists(npy));
  }
}

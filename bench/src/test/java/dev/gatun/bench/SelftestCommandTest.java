package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.engine.contract.ContractSuite;
import dev.gatun.models.Models;
import org.junit.jupiter.api.Test;

class SelftestCommandTest {
  @Test
  void everyCaseIsListed() {
    Cli.Result result = Cli.run("selftest", "--device", "cpu", "--json").succeeds();
    JsonNode json = result.json();
    int models = json.get("checks").size();
    assertEquals(json.get("passed").asInt(), json.get("cases").size() + models);
    assertEquals(Models.names().size(), models);
    for (JsonNode one : json.get("checks")) {
      assertTrue(one.get("passed").asBoolean(), one.toString());
    }
    assertEquals(0, json.get("failed").asInt());
    assertTrue(json.get("cases").size() > 50);
    assertTrue(json.get("cases").size() <= ContractSuite.cases().size());
    for (JsonNode one : json.get("cases")) {
      assertTrue(one.get("passed").asBoolean());
      assertTrue(one.get("share").asDouble() <= 1);
      assertTrue(one.get("failure").isNull());
      assertTrue(one.has("op") && one.has("dtype") && one.has("inputs") && one.has("order"));
    }
    assertTrue(result.err().contains("conv_taps"), result.err());
  }
}

package dev.gatun.engine.io;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import dev.gatun.engine.ShapeException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;

/** The JSON header of a safetensors file, checked against the size of the data after it. */
record SafetensorsHeader(Map<String, String> metadata, Map<String, Tensor> tensors) {
  private static final String REWRITE = "the file is damaged or not safetensors, write it again";

  /** Where a tensor's bytes are: {@code [begin, end)} within the data after the header. */
  record Tensor(String name, DType dtype, Shape shape, long begin, long end) {}

  private static final JsonFactory JSON =
      JsonFactory.builder()
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(8)
                  .maxNumberLength(32)
                  .maxStringLength(Safetensors.MAX_HEADER_BYTES)
                  .build())
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION)
          .build();

  /** Parses {@code json} and checks that the tensors tile {@code dataBytes} bytes exactly. */
  static SafetensorsHeader parse(Path file, byte[] json, long dataBytes) throws FormatException {
    String text;
    try {
      text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(json)).toString();
    } catch (CharacterCodingException e) {
      throw new FormatException(file, "the header is not valid UTF-8", REWRITE, e);
    }
    if (!text.startsWith("{")) {
      throw new FormatException(file, "the header does not start with '{'", REWRITE);
    }
    SafetensorsHeader header = new Parser(file).parse(text);
    checkTiling(file, header.tensors, dataBytes);
    return header;
  }

  private static void checkTiling(Path file, Map<String, Tensor> tensors, long dataBytes)
      throws FormatException {
    Tensor[] sorted = tensors.values().toArray(Tensor[]::new);
    Arrays.sort(sorted, Comparator.comparingLong(Tensor::begin).thenComparingLong(Tensor::end));
    long end = 0;
    for (Tensor tensor : sorted) {
      if (tensor.begin != end) {
        throw new FormatException(
            file,
            tensorName(tensor.name)
                + " starts at byte "
                + tensor.begin
                + " of the data, but the one before it ends at "
                + end
                + (tensor.begin < end ? " (overlap)" : " (hole)"),
            REWRITE);
      }
      end = tensor.end;
    }
    if (end != dataBytes) {
      throw new FormatException(
          file,
          "the tensors take " + end + " bytes, the file holds " + dataBytes + " bytes of data",
          end > dataBytes ? "it is truncated, copy it again" : REWRITE);
    }
  }

  private static String tensorName(String name) {
    return "tensor " + FormatException.quote(name);
  }

  private static final class Parser {
    private final Path file;

    Parser(Path file) {
      this.file = file;
    }

    SafetensorsHeader parse(String text) throws FormatException {
      try (JsonParser json = JSON.createParser(text)) {
        json.nextToken();
        SafetensorsHeader header = header(json);
        if (json.nextToken() != null) {
          throw bad("more JSON follows the header object");
        }
        return header;
      } catch (JsonProcessingException e) {
        throw new FormatException(
            file, "the header is not valid JSON: " + e.getOriginalMessage(), REWRITE, e);
      } catch (FormatException e) {
        throw e;
      } catch (IOException e) {
        throw new UncheckedIOException("reading a string", e);
      }
    }

    private SafetensorsHeader header(JsonParser json) throws IOException {
      Map<String, String> metadata = null;
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String name = json.currentName();
        if (json.nextToken() != JsonToken.START_OBJECT) {
          throw bad("the header's value for " + FormatException.quote(name) + " is not an object");
        }
        if (!name.equals(Safetensors.METADATA)) {
          if (tensors.put(name, tensor(name, json)) != null) {
            throw bad(tensorName(name) + " appears twice");
          }
        } else if (metadata == null) {
          metadata = metadata(json);
        } else {
          throw bad("__metadata__ appears twice");
        }
      }
      return new SafetensorsHeader(
          metadata == null ? Map.of() : Collections.unmodifiableMap(metadata),
          Collections.unmodifiableMap(tensors));
    }

    private Map<String, String> metadata(JsonParser json) throws IOException {
      Map<String, String> metadata = new LinkedHashMap<>();
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String key = json.currentName();
        if (json.nextToken() != JsonToken.VALUE_STRING) {
          throw bad("metadata " + FormatException.quote(key) + " is not a string");
        }
        if (metadata.put(key, json.getText()) != null) {
          throw bad("metadata " + FormatException.quote(key) + " appears twice");
        }
      }
      return metadata;
    }

    private Tensor tensor(String name, JsonParser json) throws IOException {
      String dtypeName = null;
      long[] dims = null;
      long[] offsets = null;
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String field = json.currentName();
        JsonToken value = json.nextToken();
        if (field.equals("dtype") && dtypeName == null && value == JsonToken.VALUE_STRING) {
          dtypeName = json.getText();
        } else if (field.equals("shape") && dims == null && value == JsonToken.START_ARRAY) {
          dims = naturals(name, field, json);
        } else if (field.equals("data_offsets")
            && offsets == null
            && value == JsonToken.START_ARRAY) {
          offsets = naturals(name, field, json);
        } else {
          throw bad(
              tensorName(name)
                  + ": field "
                  + FormatException.quote(field)
                  + " is unknown, repeated or of the wrong type");
        }
      }
      if (dtypeName == null || dims == null || offsets == null) {
        throw bad(tensorName(name) + " lacks dtype, shape or data_offsets");
      }
      return tensor(name, dtypeName, dims, offsets);
    }

    private Tensor tensor(String name, String dtypeName, long[] dims, long[] offsets)
        throws FormatException {
      DType dtype = Safetensors.dtype(dtypeName);
      if (dtype == null) {
        throw new FormatException(
            file,
            tensorName(name)
                + " has dtype "
                + FormatException.quote(dtypeName)
                + ", which Gatun does not read",
            "convert it to one of F32, BF16, F64, I32, U8");
      }
      Shape shape = shape(name, dims);
      if (offsets.length != 2 || offsets[0] > offsets[1]) {
        throw bad(tensorName(name) + ": data_offsets is not [begin, end]");
      }
      long bytes = (long) shape.elements() * dtype.bytes();
      if (offsets[1] - offsets[0] != bytes) {
        throw bad(
            tensorName(name)
                + ": "
                + FormatException.quote(shape + " " + dtype.label())
                + " needs "
                + bytes
                + " bytes, its data_offsets span "
                + (offsets[1] - offsets[0]));
      }
      return new Tensor(name, dtype, shape, offsets[0], offsets[1]);
    }

    private Shape shape(String name, long[] dims) throws FormatException {
      int[] extents = new int[dims.length];
      for (int i = 0; i < dims.length; i++) {
        if (dims[i] > Integer.MAX_VALUE) {
          throw tooLarge(name);
        }
        extents[i] = (int) dims[i];
      }
      try {
        return Shape.of(extents);
      } catch (ShapeException e) {
        throw tooLarge(name);
      }
    }

    private FormatException tooLarge(String name) {
      return new FormatException(
          file, tensorName(name) + " has more than 2^31-1 elements", "split it into smaller ones");
    }

    /** Non-negative integers up to the end of the array. */
    private long[] naturals(String name, String field, JsonParser json) throws IOException {
      long[] values = new long[4];
      int count = 0;
      while (json.nextToken() != JsonToken.END_ARRAY) {
        if (json.currentToken() != JsonToken.VALUE_NUMBER_INT || json.getLongValue() < 0) {
          throw bad(tensorName(name) + ": " + field + " is not a list of non-negative integers");
        }
        if (count == values.length) {
          values = Arrays.copyOf(values, 2 * count);
        }
        values[count++] = json.getLongValue();
      }
      return Arrays.copyOf(values, count);
    }

    private FormatException bad(String problem) {
      return new FormatException(file, problem, REWRITE);
    }
  }
}

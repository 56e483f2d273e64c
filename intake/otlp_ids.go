package intake

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
)

// idsToBase64 writes the ids in OTLP/JSON as the JSON of Protocol Buffers has bytes. OTLP writes them in hexadecimal, which is its
// one difference from that mapping (OpenTelemetry Protocol Specification, "JSON Protobuf Encoding"). It changes texts that are
// hexadecimal and stand as values of the members traceId and spanId, and touches nothing else.
func idsToBase64(text []byte) ([]byte, error) {
	out := make([]byte, 0, len(text)+len(text)/16)
	isID := false // the member that is being read is an id
	for i := 0; i < len(text); {
		c := text[i]
		if c != '"' {
			if c == ',' || c == '{' || c == '}' || c == '[' || c == ']' {
				isID = false
			}
			out = append(out, c)
			i++
			continue
		}
		end := endOfText(text, i)
		if end < 0 {
			return nil, errors.New("a text does not end")
		}
		inner := text[i+1 : end-1]
		if isID {
			if id, err := hex.DecodeString(string(inner)); err == nil {
				inner = base64.StdEncoding.AppendEncode(nil, id)
			}
			isID = false
		} else if next := bytes.TrimLeft(text[end:], " \t\r\n"); len(next) > 0 && next[0] == ':' {
			switch string(inner) {
			case "traceId", "trace_id", "spanId", "span_id":
				isID = true
			}
		}
		out = append(append(append(out, '"'), inner...), '"')
		i = end
	}
	return out, nil
}

// endOfText returns where the text of JSON that begins at i has ended; -1: it does not.
func endOfText(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

package intake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// readLines reads one record a line.
func readLines(contentType string, body []byte) (*batch, *fault) {
	switch contentType {
	case "application/x-ndjson", "application/jsonl", "application/json-seq", "application/json", "text/plain", "":
	default:
		return nil, &fault{status: http.StatusUnsupportedMediaType, reason: ReasonForm, text: "send application/x-ndjson or text/plain"}
	}
	b := &batch{}
	n := 0
	for line := range bytes.Lines(body) {
		n++
		line = bytes.Trim(line, "\x1e\r\n \t") // RFC 7464 puts a record separator before each
		switch {
		case len(line) == 0:
		case len(line) > maxLine:
			b.reject(1, fmt.Sprintf("line %d has more than %d bytes", n, maxLine))
		case len(b.records) == maxRecords:
			b.reject(1, fmt.Sprintf("line %d is one too many: a body may have %d records", n, maxRecords))
		default:
			r := &record{form: formText}
			readLine(r, line)
			b.records = append(b.records, r)
		}
	}
	if len(b.records) == 0 && b.rejected > 0 {
		return nil, &fault{status: http.StatusBadRequest, reason: ReasonForm, text: b.why}
	}
	return b, nil
}

// linesAnswer is the answer to JSON lines.
type linesAnswer struct {
	Accepted int    `json:"accepted"`
	Rejected int    `json:"rejected"`        // not taken, and not worth sending again
	Error    string `json:"error,omitempty"` // why, of the first
}

func answerLines(w http.ResponseWriter, _ string, b *batch) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(linesAnswer{len(b.records), b.rejected, b.why}) // whoever asked is gone if this fails
}

func refuseLines(w http.ResponseWriter, _ string, f *fault) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(linesAnswer{Error: f.text}) // whoever asked is gone if this fails
}

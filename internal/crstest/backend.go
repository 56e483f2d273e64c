package crstest

import (
	"encoding/json"
	"io"
	"net/http"
)

// Backend returns the service behind the gateway that the suite expects: every path answers 200 with an empty
// body, and a POST to /reflect answers as its JSON body says.
func Backend() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/reflect" {
			reflect(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusOK)
	})
}

func reflect(w http.ResponseWriter, r *http.Request) {
	var want struct {
		Status      int               `json:"status"`
		Headers     map[string]string `json:"headers"`
		Body        string            `json:"body"`
		EncodedBody []byte            `json:"encodedBody"` // Base64
	}
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil {
		http.Error(w, "not a specification of an answer", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	for name, value := range want.Headers {
		w.Header().Set(name, value)
	}
	if want.Status == 0 {
		want.Status = http.StatusOK
	}
	w.WriteHeader(want.Status)
	if want.Body != "" {
		_, _ = io.WriteString(w, want.Body)
		return
	}
	_, _ = w.Write(want.EncodedBody)
}

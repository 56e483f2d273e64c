package wire

import (
	"encoding/json"
	"time"
)

// Report is what a proxy says of itself, every few seconds and when something has changed. A later one replaces it.
type Report struct {
	Instance string    `json:"instance"`       // distinguishes processes of one identity
	Number   uint64    `json:"number"`         // grows with each report of an instance
	Node     string    `json:"node,omitempty"` // host it runs on
	Started  time.Time `json:"started"`

	Version  string    `json:"version,omitempty"` // of the slice in force; empty: none yet
	Order    Order     `json:"order,omitzero"`    // of the newest slice that it has decided about
	Made     time.Time `json:"made,omitzero"`     // of the slice in force if it came from control in this run
	Accepted bool      `json:"accepted"`          // whether it took the newest
	Reason   string    `json:"reason,omitempty"`  // why not

	Begins   time.Time `json:"begins,omitzero"`    // of its SVID
	Expires  time.Time `json:"expires,omitzero"`   // of its SVID
	Serial   string    `json:"serial,omitempty"`   // of its SVID
	Failures int       `json:"failures,omitempty"` // renewals in a row that failed
	Stale    string    `json:"stale,omitempty"`    // stop or serve: its SVID has expired

	Denied uint64 `json:"denied"`        // sequence number of the revocation list in force
	Cut    uint64 `json:"cut,omitempty"` // connections that lists have cut since the start

	Traffic     Traffic         `json:"traffic"`
	Connections int             `json:"connections,omitempty"` // that others have to it
	Addresses   []string        `json:"addresses,omitempty"`   // where it takes mTLS calls for its service
	Keys        json.RawMessage `json:"keys,omitempty"`        // of the edge: JWKS of the transaction tokens it signs
	Leaving     bool            `json:"leaving,omitempty"`     // it is about to end
	Notes       []Note          `json:"notes,omitempty"`       // those that control has not confirmed yet
}

// Traffic counts since the start of an instance.
type Traffic struct {
	Requests uint64 `json:"requests"`
	Errors   uint64 `json:"errors"`  // that ended with 5xx or were cut off
	Refused  uint64 `json:"refused"` // by policy, limit or inspection
}

// Note is something that happened to a proxy and must not be lost.
type Note struct {
	Number uint64    `json:"number"`
	At     time.Time `json:"at"` // by the proxy's clock
	Kind   string    `json:"kind"`
	Text   string    `json:"text"`
}

// ReportAnswer confirms a report.
type ReportAnswer struct {
	Noted uint64 `json:"noted"`          // notes up to this number are recorded
	Keys  bool   `json:"keys,omitempty"` // the report's keys are to be told over HTTPS: nobody is believed about them on the bus
}

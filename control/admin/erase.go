package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// Paths of the interface for the erasure of persons. The name is in the body, never in a URL, so that no log has it.
const (
	ErasePath     = "/v1/admin/erase"      // POST EraseRequest: EraseResult
	ErasePlanPath = "/v1/admin/erase/plan" // POST EraseRequest: EraseResult, of what would be done
)

// EraseRequest asks for the key of a person to be destroyed.
type EraseRequest struct {
	User string `json:"user"` // the name of the user, or the pseudonym
}

// EraseResult is what came of it, or would. It names nobody.
type EraseResult struct {
	Pseudonym string `json:"pseudonym"`
	Erased    bool   `json:"erased"`
	Events    int64  `json:"events"`          // that stay, under a pseudonym that leads to nobody
	Named     int64  `json:"named,omitempty"` // that say the name, since they were recorded without pseudonyms; they stay until they are old
	Exports   int    `json:"exports"`         // servers to which events are handed on: they have pseudonyms
	Bus       string `json:"bus,omitempty"`   // why files of the bus may have the name for a while
	Disk      string `json:"disk,omitempty"`  // why the disk below the tables may have the key still
	Held      string `json:"held,omitempty"`  // hold that keeps it from being done
}

// Persons is where the keys of persons are destroyed.
type Persons interface {
	// Erase destroys a key, or says what that would do.
	Erase(ctx context.Context, q EraseRequest, plan bool) (EraseResult, error)
}

const maxUser = 1 << 10

// Erasure answers an EraseRequest of an administrator. The error is a *Problem if the request is wrong or nothing can be done; it names nobody.
func Erasure(ctx context.Context, of Persons, body []byte, plan bool) (EraseResult, error) {
	var q EraseRequest
	if err := json.Unmarshal(body, &q); err != nil {
		return EraseResult{}, wrong("the request cannot be read")
	}
	if strings.TrimSpace(q.User) == "" || len(q.User) > maxUser {
		return EraseResult{}, wrong("name the user whose key is to be destroyed")
	}
	if of == nil {
		return EraseResult{}, &Problem{Type: "about:blank", Status: http.StatusConflict, Title: "no pseudonyms", Detail: NoPseudonyms}
	}
	return of.Erase(ctx, q, plan)
}

// NoPseudonyms says why nobody can be erased.
const NoPseudonyms = "names are recorded as they are, in records that cannot be changed: declare audit: {pseudonyms: true} and start anew; what is recorded with names goes when audit.retain says"

// EraseText says what an erasure did, for the act that records it.
func EraseText(r *EraseResult) string {
	if !r.Erased {
		return ""
	}
	return "the key is destroyed: nobody can tell whom the pseudonym meant"
}

// Erase destroys the key of a person; with plan it says what that would do.
func (c *Client) Erase(ctx context.Context, q EraseRequest, plan bool) (out EraseResult, err error) {
	path := ErasePath
	if plan {
		path = ErasePlanPath
	}
	return out, c.do(ctx, http.MethodPost, path, q, &out)
}

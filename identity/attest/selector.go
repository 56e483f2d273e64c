// Package attest proves what a caller is. The kernel, the container runtime, a Kubernetes API server, a join
// token or an existing certificate gives selectors; a Matcher decides which declared service they make. Nothing
// a caller says of itself counts. Not for who an end user is: that is the business of tokens.
package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Kind says what a selector speaks of.
type Kind string

// The kinds of selectors. Values are compared byte by byte.
const (
	UnixUID                  Kind = "unix:uid"                   // numeric user id
	UnixUser                 Kind = "unix:user"                  // name of that user on this host
	UnixPath                 Kind = "unix:path"                  // executable, absolute, as this host sees it
	UnixSHA256               Kind = "unix:sha256"                // of the executable's bytes, lower-case hex
	ContainerImage           Kind = "container:image"            // "sha256:" + hex: image id or repository digest
	ContainerLabel           Kind = "container:label"            // Key = Value
	KubernetesNamespace      Kind = "kubernetes:namespace"       // of the service account
	KubernetesServiceAccount Kind = "kubernetes:service_account" // name without namespace
	KubernetesNode           Kind = "kubernetes:node"            // the pod runs on, where the API server says it
	JoinName                 Kind = "join:name"                  // the name a one-time token was made for
	X509Fingerprint          Kind = "x509:sha256"                // of the certificate's DER, lower-case hex
	X509DNS                  Kind = "x509:dns"                   // a DNS name of the certificate
)

// Selector is one thing proven of a caller, or one thing a workload must prove. Key is used by ContainerLabel
// only: a label's name may contain any sign, so name and value stay apart.
type Selector struct {
	Kind  Kind
	Key   string
	Value string
}

// String is for people; two selectors may read the same.
func (s Selector) String() string {
	if s.Key != "" {
		return string(s.Kind) + ":" + s.Key + "=" + s.Value
	}
	return string(s.Kind) + ":" + s.Value
}

// check refuses a selector that can never be proven, which a user would otherwise learn from silence.
func (s Selector) check() error {
	if (s.Kind == ContainerLabel) != (s.Key != "") {
		return errors.New("a label has a key, and nothing else has")
	}
	switch s.Kind {
	case UnixUID:
		id, err := strconv.ParseUint(s.Value, 10, 32)
		if err != nil || strconv.FormatUint(id, 10) != s.Value {
			return errors.New("not a user id")
		}
	case UnixUser, KubernetesNamespace, KubernetesServiceAccount, JoinName, X509DNS:
		if s.Value == "" {
			return errors.New("empty")
		}
	case UnixPath:
		if !path.IsAbs(s.Value) || path.Clean(s.Value) != s.Value {
			return errors.New("not a clean absolute path")
		}
	case UnixSHA256, X509Fingerprint:
		if !isSHA256(s.Value) {
			return errors.New("not 64 lower-case hex digits")
		}
	case ContainerImage:
		if !isContent(s.Value) {
			return errors.New(`not "sha256:" and 64 lower-case hex digits`)
		}
	case ContainerLabel:
	default:
		return fmt.Errorf("unknown kind %q", s.Kind)
	}
	return nil
}

// isContent tells whether s names an image by its content: "sha256:" and hex.
func isContent(s string) bool {
	digest, ok := strings.CutPrefix(s, "sha256:")
	return ok && isSHA256(digest)
}

// isSHA256 tells whether s is 32 bytes in lower-case hex. Container ids have the same form.
func isSHA256(s string) bool {
	if len(s) != 64 || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

package h1

import (
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
)

// The reasons for a refusal that only the bytes of a connection can tell; others have canon's codes.
const (
	CodeLineEnding  = "line-ending"      // a bare CR or LF in a head
	CodeFolding     = "obsolete-folding" // a field value that goes on in the next line
	CodeRequestLine = "request-line"     // not exactly method, target and version
	CodeChunk       = "chunk-framing"    // a chunked body that two servers could read differently
	CodeTrailer     = "trailer-invalid"
	CodeKeepAlive   = "keep-alive-content" // a body on a persistent HTTP/1.0 connection
)

func refuse(code, text string) *canon.Refusal {
	return &canon.Refusal{Code: code, Text: text, Kind: proxy.KindMalformed}
}

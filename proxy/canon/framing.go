package canon

import "strconv"

// checkFraming refuses a request whose body two servers could end at different places (RFC 9112, section 6):
// a Content-Length that is no plain number or not what the front will read, a transfer coding but chunked,
// both at once, and a body on a method that gives it no meaning.
func checkFraming(in *Input, out *Output) error {
	chunked, err := checkCoding(in)
	if err != nil {
		return err
	}
	if count(out.Header, "Content-Length") == 0 {
		if in.ContentLength != 0 && !chunked && !in.h2() {
			return refuse(CodeLengthConflict, "a body is to be read that neither Content-Length nor Transfer-Encoding announces")
		}
	} else {
		n, err := parseLength(out.Header.Get("Content-Length"))
		switch {
		case err != nil:
			return err
		case chunked:
			return refuse(CodeLengthConflict, "the request has both Content-Length and Transfer-Encoding")
		case n != in.ContentLength:
			return refuse(CodeLengthConflict, "the Content-Length is not the length of the body that will be read")
		}
	}
	if (chunked || in.ContentLength != 0) && (in.Method == "GET" || in.Method == "HEAD") && !in.GetContent {
		return refuse(CodeContent, "a GET or HEAD request has a body")
	}
	return nil
}

// parseLength reads a Content-Length: digits only, no list, no sign, no leading zero.
func parseLength(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, refuse(CodeLength, "the Content-Length is not a number")
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || s[0] == '0' && len(s) > 1 {
		return 0, refuse(CodeLength, "the Content-Length is not a plain number below 2^63")
	}
	return n, nil
}

// checkCoding reports whether the body is chunked and refuses every other transfer coding, and chunked where
// the protocol version lacks it.
func checkCoding(in *Input) (bool, error) {
	codings := len(in.TransferEncoding) + count(in.Header, "Transfer-Encoding")
	if codings == 0 {
		return false, nil
	}
	coding := in.Header.Get("Transfer-Encoding")
	if len(in.TransferEncoding) > 0 {
		coding = in.TransferEncoding[0]
	}
	if codings > 1 || coding != "chunked" {
		return false, refuse(CodeTransferEncoding, "the transfer coding is not exactly chunked")
	}
	if in.Proto != "HTTP/1.1" {
		return false, refuse(CodeTransferEncoding, "only HTTP/1.1 has transfer codings")
	}
	return true, nil
}

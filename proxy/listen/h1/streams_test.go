package h1

import (
	"slices"
	"strings"

	"github.com/palisade-security/palisade/proxy/canon"
)

const (
	get  = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"
	post = "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"
	many = "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
)

func chunked(body string) string {
	return "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

func with(lines ...string) string {
	return "POST /a HTTP/1.1\r\nHost: a.example\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// passing are streams of requests that are read as they are.
var passing = []string{
	"", get, post, many, get + get + post + many + get,
	"HEAD /%41%c3%a9?x=%zz&y=\xff HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://A.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
	with("A:b", "C: \t d \t", "E:", "F: \xff\x80", "x_y!#$%&'*+-.^`|~: 1"),
	with("Expect: 100-Continue", "content-LENGTH: 0"),
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", chunked("0\r\n\r\n") + get,
	chunked("00A\r\n0123456789\r\n000\r\nTrailer-Name: \t x\r\nY:\r\n\r\n"),
}

// refusing are streams with the code of their refusal.
var refusing = []struct{ name, stream, code string }{
	{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", CodeLineEnding},
	{"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", CodeLineEnding},
	{"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", CodeLineEnding},
	{"bare CR in a value", with("X: a\rY: b"), canon.CodeHeaderValue},
	{"bare CR in a name", with("X\rY: b"), canon.CodeHeaderName},
	{"bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeTargetByte},
	{"bare CR at the start", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", CodeLineEnding},
	{"two empty lines", "\r\n\r\n" + get, CodeRequestLine},
	{"fold", with("X: a", " b"), CodeFolding},
	{"fold with a tab", with("X: a", "\tb"), CodeFolding},
	{"fold at once", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", CodeFolding},
	{"space before colon", with("Content-Length : 3"), canon.CodeHeaderName},
	{"tab before colon", with("Transfer-Encoding\t: chunked"), canon.CodeHeaderName},
	{"no name", with(": x"), canon.CodeHeaderName},
	{"no colon", with("X"), canon.CodeHeaderName},
	{"name with a byte outside ASCII", with("X\xff: y"), canon.CodeHeaderName},
	{"NUL in a name", with("X\x00: y"), canon.CodeHeaderName},
	{"NUL in a value", with("X: a\x00b"), canon.CodeHeaderValue},
	{"DEL in a value", with("X: a\x7f"), canon.CodeHeaderValue},
	{"control character in a long value", with("X: 0123456789\x01abcdefghijkl"), canon.CodeHeaderValue},
	{"length and coding", with("Content-Length: 3", "Transfer-Encoding: chunked"), canon.CodeLengthConflict},
	{"coding and length", with("Transfer-Encoding: chunked", "Content-Length: 3"), canon.CodeLengthConflict},
	{"two equal lengths", with("Content-Length: 3", "Content-Length: 3"), canon.CodeLengthConflict},
	{"list of lengths", with("Content-Length: 3, 3"), canon.CodeLength},
	{"signed length", with("Content-Length: +3"), canon.CodeLength},
	{"hexadecimal length", with("Content-Length: 0x3"), canon.CodeLength},
	{"leading zero", with("Content-Length: 03"), canon.CodeLength},
	{"empty length", with("Content-Length:"), canon.CodeLength},
	{"huge length", with("Content-Length: 9999999999999999999"), canon.CodeLength},
	{"coding with a prefix", with("Transfer-Encoding: xchunked"), canon.CodeTransferEncoding},
	{"coding list", with("Transfer-Encoding: gzip, chunked"), canon.CodeTransferEncoding},
	{"two codings", with("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), canon.CodeTransferEncoding},
	{"coding in capitals", with("Transfer-Encoding: Chunked"), canon.CodeTransferEncoding},
	{"coding with a vertical tab", with("Transfer-Encoding: \x0bchunked"), canon.CodeHeaderValue},
	{"coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", canon.CodeTransferEncoding},
	{"kept HTTP/1.0 with a body", "POST / HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na", CodeKeepAlive},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", canon.CodeProtocol},
	{"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", canon.CodeProtocol},
	{"version in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n", canon.CodeProtocol},
	{"HTTP/0.9", "GET /\r\n\r\n", CodeRequestLine},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", CodeRequestLine},
	{"two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeProtocol},
	{"space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", canon.CodeProtocol},
	{"space at the start", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", CodeRequestLine},
	{"tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", CodeRequestLine},
	{"method with a control character", "G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", CodeRequestLine},
	{"broken escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodePercent},
	{"odd target", "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeTargetForm},
	{"target names another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeHostConflict},
	{"no host", "GET / HTTP/1.1\r\n\r\n", canon.CodeHostInvalid},
	{"two hosts", with("Host: a"), canon.CodeHostInvalid},
	{"host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", canon.CodeHostInvalid},
	{"other expectation", with("Expect: 200-ok"), canon.CodeExpect},
	{"trailer that frames", with("Transfer-Encoding: chunked", "Trailer: X, content-length"), CodeTrailer},
	{"long target", "GET /" + strings.Repeat("a", 1<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeTargetTooLong},
	{"long field", with("X: " + strings.Repeat("a", 1<<10)), canon.CodeHeaderTooLarge},
	{"many fields", with(slices.Repeat([]string{"X: y"}, 300)...), canon.CodeHeaderTooLarge},
	{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n\r\n", CodeRequestLine},
}

// breaking are chunked bodies with the code of their refusal.
var breaking = []struct{ name, body, code string }{
	{"extension", "3;a=b\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"space after the size", "3 \r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"space before the size", " 3\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"prefix", "0x3\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"sign", "+3\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"no size", "\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"bare LF after the size", "3\nabc\r\n0\r\n\r\n", CodeChunk},
	{"bare CR after the size", "3\rabc\r\n0\r\n\r\n", CodeChunk},
	{"overflow", "10000000000000003\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"chunk too long", "3\r\nabcd\r\n0\r\n\r\n", CodeChunk},
	{"bare LF after the chunk", "3\r\nabc\n0\r\n\r\n", CodeChunk},
	{"CR without LF after the chunk", "3\r\nabc\rx0\r\n\r\n", CodeChunk},
	{"bare LF at the end", "0\r\n\n", CodeTrailer},
	{"trailer without a name", "0\r\n: x\r\n\r\n", CodeTrailer},
	{"trailer with a space", "0\r\nA : x\r\n\r\n", CodeTrailer},
	{"trailer with a fold", "0\r\nA: x\r\n b\r\n\r\n", CodeTrailer},
	{"trailer with NUL", "0\r\nA: \x00\r\n\r\n", CodeTrailer},
	{"trailer with a bare LF", "0\r\nA: x\n\r\n", CodeTrailer},
	{"trailer too long", "0\r\nA: " + strings.Repeat("x", trailerBytes) + "\r\n\r\n", CodeTrailer},
	{"request as trailer", "0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", CodeTrailer},
}

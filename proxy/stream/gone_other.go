//go:build !unix

package stream

func isGone(error) bool { return false }

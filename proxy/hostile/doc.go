// Package hostile holds tests alone: a real front of listener, engine and upstream pool between clients that
// attack it and a service that records the exact bytes it gets. Nothing imports it.
package hostile

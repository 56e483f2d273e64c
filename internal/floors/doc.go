// Package floors holds the test that keeps the code inside the drawing of ARCHITECTURE.md. It has no code of
// its own.
package floors

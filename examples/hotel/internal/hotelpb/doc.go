// Package hotelpb is hotel.proto in Go. The generators are protoc-gen-go 1.36.12 and protoc-gen-go-grpc 1.6.0.
package hotelpb

//go:generate protoc -I ../.. --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative hotel.proto

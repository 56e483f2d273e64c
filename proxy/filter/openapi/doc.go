// Package openapi checks requests against a service's OpenAPI document (3.0 or 3.1): path and method, parameters,
// media types and bodies. It does not check answers, and it has nothing to say about gRPC.
package openapi

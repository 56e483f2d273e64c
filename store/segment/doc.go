// Package segment keeps events in columns: in memory while they are new (Block), then sealed in Parquet files that any
// reader of Parquet understands. Every field of an event is a column, so the record comes back byte for byte, and the
// columns that people search hold what package query says of an event.
//
// It knows nothing of logs, of duplicates or of which files belong together; for that see store/events.
package segment

package segment

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// The sizes of what is written.
const (
	groupRows   = 128 << 10 // of a row group, which is what one worker reads at a time
	pageBytes   = 128 << 10 // of a page before it is encoded
	dictBytes   = 1 << 20   // of a dictionary; beyond that the column goes on in plain
	filterBits  = 10        // of a Bloom filter for each value: one in a hundred is read in vain
	batchValues = 4 << 10   // handed to the writer at a time
)

// saidName is of a column behind those of events, at saidColumn. The first row of a row group has its grams, no other has anything.
const saidName = "said"

var saidColumn = len(columns)

// schema is the columns as Parquet describes them. All are required: what an event does not have is empty or 0.
func schema() *parquet.Schema {
	root := parquet.Group{}
	for i := range columns {
		root[columns[i].name] = columns[i].node()
	}
	root[saidName] = parquet.Optional(parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.Plain))
	return parquet.NewSchema("event", ordered{root})
}

// ordered keeps the columns in the order of the table; a parquet.Group sorts them by name.
type ordered struct{ parquet.Group }

func (o ordered) Fields() []parquet.Field {
	sorted := o.Group.Fields()
	at := map[string]parquet.Field{}
	for _, f := range sorted {
		at[f.Name()] = f
	}
	out := make([]parquet.Field, 0, len(columns)+1)
	for i := range columns {
		out = append(out, at[columns[i].name])
	}
	return append(out, at[saidName])
}

func (c *column) node() parquet.Node {
	switch c.kind {
	case named, text:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	case unique:
		if c.name == columns[idColumn].name {
			return parquet.Encoded(parquet.String(), &parquet.DeltaByteArray) // ids begin with their time
		}
		return parquet.Encoded(parquet.String(), &parquet.Plain)
	case code:
		return parquet.Encoded(parquet.Int(64), &parquet.RLEDictionary)
	case flag:
		return parquet.Encoded(parquet.Leaf(parquet.BooleanType), &parquet.Plain)
	case list:
		return parquet.Repeated(parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked))
	case size:
	}
	if c.name == columns[timeColumn].name {
		return parquet.Encoded(parquet.Timestamp(parquet.Nanosecond), &parquet.DeltaBinaryPacked)
	}
	return parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked)
}

func writerOptions() []parquet.WriterOption {
	options := []parquet.WriterOption{
		schema(),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.PageBufferSize(pageBytes),
		parquet.DictionaryMaxBytes(dictBytes),
		parquet.DeferBloomFiltersWithBuffers(parquet.NewBufferPool()),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending(columns[timeColumn].name))),
		parquet.DataPageStatistics(false), // the column index has them
		parquet.CreatedBy("palisade", form, ""),
		parquet.KeyValueMetadata("palisade.form", form),
		parquet.SkipPageBounds(saidName),
	}
	var filters []parquet.BloomFilterColumn
	for i := range columns {
		if columns[i].filter {
			filters = append(filters, parquet.SplitBlockFilter(filterBits, columns[i].name))
		}
		if columns[i].kind.isText() {
			options = append(options, parquet.SkipPageBounds(columns[i].name))
		}
	}
	return append(options, parquet.BloomFilters(filters...))
}

// form is the version of the columns, of which readers must know.
const form = "3"

// Writes the rows of a segment as lines of JSON, its metadata first. Numbers of 64 bits are texts.
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

const show = (value) => console.log(JSON.stringify(value, (_, v) => typeof v === 'bigint' ? String(v) : v))
const file = await asyncBufferFromFile(process.argv[2])
const { key_value_metadata: pairs } = await parquetMetadataAsync(file)
show(Object.fromEntries(pairs.map(({ key, value }) => [key, value])))
const parsers = { timestampFromNanoseconds: (nanoseconds) => nanoseconds } // a Date has milliseconds only
for (const row of await parquetReadObjects({ file, compressors, parsers })) show(row)

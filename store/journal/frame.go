package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// A record on disk, all integers little-endian:
//
//	length   uint32  bytes of the payload
//	checksum uint32  CRC-32C of payload, length, sequence, in this order
//	sequence uint64  1 for the first record of the journal, then one more each
//	payload
//
// The payload comes first in the checksum so that it is summed before the sequence number is known. A run
// of zeros, which a file may hold after a power loss, is never a record: no record has sequence number 0.
const frameHead = 16

// A segment begins with these bytes, the sequence number of its first record and the CRC-32C of both.
const (
	segmentMagic = "PLSDJRN\x01"
	segmentHead  = len(segmentMagic) + 8 + 4
)

// castagnoli holds the polynomial of CRC-32C (RFC 3720 section 12.1), which processors compute themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record is one entry of the journal. Data belongs to the reader.
type Record struct {
	Seq  uint64
	Data []byte
}

func sumPayload(rec []byte) uint32 { return crc32.Update(0, castagnoli, rec) }

func sumFrame(payload uint32, length uint32, seq uint64) uint32 {
	var b [12]byte
	binary.LittleEndian.PutUint32(b[:4], length)
	binary.LittleEndian.PutUint64(b[4:], seq)
	return crc32.Update(payload, castagnoli, b[:])
}

// appendFrame sums length and sequence where they lie in dst: an array of its own would be an allocation for
// every record, under the journal's lock.
func appendFrame(dst, rec []byte, seq uint64, payload uint32) []byte {
	at := len(dst)
	length := uint32(len(rec))
	dst = binary.LittleEndian.AppendUint32(dst, length)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	sum := crc32.Update(payload, castagnoli, dst[at:])
	dst = binary.LittleEndian.AppendUint32(dst[:at+4], sum)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	return append(dst, rec...)
}

// frame is the head of a record as read; nothing in it is to be believed before the checksum holds.
type frame struct {
	length, sum uint32
	seq         uint64
}

func parseFrame(b []byte) frame {
	return frame{
		length: binary.LittleEndian.Uint32(b),
		sum:    binary.LittleEndian.Uint32(b[4:]),
		seq:    binary.LittleEndian.Uint64(b[8:]),
	}
}

func (h frame) intact(rec []byte) bool {
	return sumFrame(sumPayload(rec), h.length, h.seq) == h.sum
}

// fit returns how many bytes of whole frames at the start of b lie within room, and the sequence number of
// the first frame. b holds whole frames only.
func fit(b []byte, room int64) int {
	if int64(len(b)) <= room {
		return len(b)
	}
	n := 0
	for n < len(b) {
		end := n + frameHead + int(parseFrame(b[n:]).length)
		if int64(end) > room {
			break
		}
		n = end
	}
	return n
}

func appendSegmentHead(dst []byte, first uint64) []byte {
	at := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, first)
	return binary.LittleEndian.AppendUint32(dst, crc32.Update(0, castagnoli, dst[at:]))
}

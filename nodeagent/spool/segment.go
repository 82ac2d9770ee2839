package spool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"github.com/sipio/sipio/brain/api"
)

// A segment is a file of records, each: length of the payload (4 bytes), CRC-32C of the payload
// (4 bytes), both big-endian, then the payload, the JSON of one api.EventBatch.
const (
	recordHead = 8
	maxPayload = api.MaxBody // a record is one body to the brain
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn is a record that was not written whole, or has changed on disk.
var errTorn = errors.New("torn record")

func appendRecord(dst, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(payload, castagnoli))
	return append(dst, payload...)
}

// encode makes the records of events: at most BatchEvents each, and none longer than the brain takes
// in one body.
func encode(node, boot string, events []api.Event) (buf []byte, err error) {
	for part := range slices.Chunk(events, BatchEvents) {
		if buf, err = encodePart(buf, api.EventBatch{Node: node, Boot: boot, Events: part}); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// encodePart halves a batch until its JSON is short enough.
func encodePart(buf []byte, batch api.EventBatch) ([]byte, error) {
	payload, err := json.Marshal(batch)
	if err != nil {
		return nil, fmt.Errorf("encode events: %w", err)
	}
	n := len(batch.Events)
	switch {
	case len(payload) <= maxPayload:
		return appendRecord(buf, payload), nil
	case n == 1:
		return nil, fmt.Errorf("event of %d bytes, limit %d", len(payload), maxPayload)
	}
	first, second := batch, batch
	first.Events, second.Events = batch.Events[:n/2], batch.Events[n/2:]
	if buf, err = encodePart(buf, first); err != nil {
		return nil, err
	}
	return encodePart(buf, second)
}

// readRecord reads the record at off. io.EOF means that nothing stands there, errTorn that what
// stands there is no whole record.
func readRecord(f io.ReaderAt, off int64) (payload []byte, next int64, err error) {
	var head [recordHead]byte
	n, err := f.ReadAt(head[:], off)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil, off, io.EOF
	case n < recordHead && errors.Is(err, io.EOF):
		return nil, off, fmt.Errorf("%w: head of %d bytes", errTorn, n)
	case n < recordHead:
		return nil, off, err
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size == 0 || size > maxPayload {
		return nil, off, fmt.Errorf("%w: length %d", errTorn, size)
	}
	payload = make([]byte, size)
	n, err = f.ReadAt(payload, off+recordHead)
	if n < len(payload) {
		if errors.Is(err, io.EOF) {
			return nil, off, fmt.Errorf("%w: %d of %d bytes", errTorn, n, size)
		}
		return nil, off, err
	}
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, off, fmt.Errorf("%w: checksum", errTorn)
	}
	return payload, off + recordHead + int64(size), nil
}

// segment is one file of the spool, oldest first by id.
type segment struct {
	id     int64
	path   string
	size   int64 // bytes of whole records; what lies behind is not read
	events int   // in all its records
}

// scan reads a segment from its beginning, calls each for every whole record and returns where
// they end. A torn record ends the scan and is reported as torn, not as an error.
func scan(path string, each func(end int64, payload []byte)) (end int64, torn error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, fmt.Errorf("open segment: %w", err)
	}
	defer func() { _ = f.Close() }()
	for {
		payload, next, err := readRecord(f, end)
		switch {
		case errors.Is(err, io.EOF):
			return end, nil, nil
		case errors.Is(err, errTorn):
			return end, err, nil
		case err != nil:
			return end, nil, fmt.Errorf("read segment: %w", err)
		}
		end = next
		each(end, payload)
	}
}

package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pires/go-proxyproto"
)

// Bounds of a header, from the PROXY protocol's specification (haproxy.org, proxy-protocol.txt).
const (
	signatureBytes = 12      // of version 2; shorter than the shortest line of version 1, "PROXY UNKNOWN\r\n"
	prefixBytes    = 16      // of version 2: signature, command, family, length of the rest (§2.2)
	maxLineBytes   = 107     // of version 1, CRLF included (§2.1)
	maxRestBytes   = 4 << 10 // of version 2: addresses, and extensions such as the client's certificate; the parser takes no more either
)

var errNoHeader = errors.New("no PROXY protocol header")

// readHeader takes exactly one header off r, so that the socket can be handed on bare with the client's first byte next, and returns the
// client's address; nil when the connection is the proxy's own or the proxy does not know.
func readHeader(r io.Reader) (*net.TCPAddr, error) {
	raw, err := frameHeader(r)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(bytes.NewReader(raw), len(raw))
	header, err := proxyproto.Read(in)
	if err != nil {
		return nil, fmt.Errorf("PROXY protocol header: %w", err)
	}
	if in.Buffered() > 0 {
		return nil, errors.New("PROXY protocol header: not all of it understood")
	}
	if header.Command.IsLocal() { // a health check (§2.2)
		return nil, nil
	}
	client, ok := header.SourceAddr.(*net.TCPAddr)
	if !ok {
		return nil, nil // UNKNOWN of version 1, a Unix socket: the proxy's own address is all that is known
	}
	return client, nil
}

// frameHeader reads the bytes of a header. Version 1 ends with its line and announces no length, so it is read byte by byte: some dozens
// of small reads, once for a connection.
func frameHeader(r io.Reader) ([]byte, error) {
	head := make([]byte, signatureBytes, maxLineBytes)
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return nil, err
	}
	// A client that speaks at once, past the proxy, is told from a header by its first byte; one that waits is not waited for in vain.
	if head[0] != proxyproto.SIGV1[0] && head[0] != proxyproto.SIGV2[0] {
		return nil, errNoHeader
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return nil, err
	}
	switch {
	case bytes.Equal(head, proxyproto.SIGV2):
		head = append(head, make([]byte, prefixBytes-signatureBytes)...)
		if _, err := io.ReadFull(r, head[signatureBytes:]); err != nil {
			return nil, err
		}
		rest := int(binary.BigEndian.Uint16(head[prefixBytes-2:]))
		if rest > maxRestBytes {
			return nil, fmt.Errorf("PROXY protocol header of %d bytes, more than %d", rest, maxRestBytes)
		}
		head = append(head, make([]byte, rest)...)
		_, err := io.ReadFull(r, head[prefixBytes:])
		return head, err
	case bytes.HasPrefix(head, []byte("PROXY ")):
		for !bytes.HasSuffix(head, []byte("\r\n")) {
			if len(head) == maxLineBytes {
				return nil, errors.New("PROXY protocol header: line without an end")
			}
			head = head[:len(head)+1]
			if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
				return nil, err
			}
		}
		return head, nil
	}
	return nil, errNoHeader
}

package simulator

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"sensorcast/telemetry"
)

// Credential is what a sensor logs in with.
type Credential struct {
	Serial string // serial_no; the MQTT user name
	Secret string // secret_key; the MQTT password
}

// maxCredentialsBytes bounds a credentials file: 200,000 sensors with the longest serials and secrets of 64 characters.
const maxCredentialsBytes = 32 << 20

// LoadCredentials reads a file as ReadCredentials does; its errors also name the file.
func LoadCredentials(path string) ([]Credential, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	defer file.Close()
	credentials, err := ReadCredentials(file)
	if err != nil {
		return nil, fmt.Errorf("credentials file %q: %w", path, err)
	}
	return credentials, nil
}

// ReadCredentials reads CSV with a header line that has the columns serial_no and secret_key, in any order and among others, as
// `sensorcast sensor import` and WriteCredentials print it. A mistake is telemetry.ErrInvalid and names the line, never the secret.
func ReadCredentials(r io.Reader) ([]Credential, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxCredentialsBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxCredentialsBytes {
		return nil, fmt.Errorf("%w: longer than %d MiB", telemetry.ErrInvalid, maxCredentialsBytes>>20)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // spreadsheets write a byte order mark
	rows := csv.NewReader(bytes.NewReader(text))
	rows.TrimLeadingSpace = true
	rows.ReuseRecord = true

	header, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: empty, expected the header serial_no,secret_key", telemetry.ErrInvalid)
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", telemetry.ErrInvalid, err)
	}
	serialColumn, secretColumn := slices.Index(header, "serial_no"), slices.Index(header, "secret_key")
	if serialColumn < 0 || secretColumn < 0 {
		return nil, fmt.Errorf("line 1: %w: the header must name serial_no and secret_key", telemetry.ErrInvalid)
	}
	var credentials []Credential
	seen := make(map[string]int)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil { // names the line itself
			return nil, fmt.Errorf("%w: %w", telemetry.ErrInvalid, err)
		}
		line, _ := rows.FieldPos(0)
		c := Credential{Serial: row[serialColumn], Secret: row[secretColumn]}
		if err := telemetry.CheckSerial(c.Serial); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if c.Secret == "" {
			return nil, fmt.Errorf("line %d: %w", line, telemetry.Invalid("secret_key", "must not be empty"))
		}
		if first, twice := seen[c.Serial]; twice {
			return nil, fmt.Errorf("line %d: %w", line, telemetry.Invalid("serial_no", "%s is already on line %d", c.Serial, first))
		}
		seen[c.Serial] = line
		credentials = append(credentials, c)
	}
	if len(credentials) == 0 {
		return nil, fmt.Errorf("%w: no sensor below the header", telemetry.ErrInvalid)
	}
	return credentials, nil
}

// WriteCredentials writes what ReadCredentials reads. The text holds secrets: give it to a file of mode 0600.
func WriteCredentials(w io.Writer, credentials []Credential) error {
	rows := csv.NewWriter(w)
	_ = rows.Write([]string{"serial_no", "secret_key"}) // errors stay with the writer until Error
	for _, c := range credentials {
		_ = rows.Write([]string{c.Serial, c.Secret})
	}
	rows.Flush()
	return rows.Error()
}

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// usageError is a command line that cannot be carried out as it stands; the exit status tells it from a failure.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e usageError) Unwrap() error { return e.error }

// password is how a command is given one: never as an argument, which every user of the machine can read.
type password struct {
	PasswordStdin bool `name:"password-stdin" help:"Read the password from the first line of standard input, without a prompt."`
}

const maxSecretLine = 1 << 10

// read returns the password, asked for twice at a terminal.
func (p password) read() (string, error) {
	if p.PasswordStdin {
		return firstLine(os.Stdin)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", usageError{errors.New("there is no terminal to ask for the password at: send it with --password-stdin")}
	}
	once, err := promptPassword("New password: ")
	if err != nil {
		return "", err
	}
	twice, err := promptPassword("Once more: ")
	if err != nil {
		return "", err
	}
	if once != twice {
		return "", errors.New("the passwords differ")
	}
	return once, nil
}

// firstLine reads a line without its end.
func firstLine(from io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(from, maxSecretLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// promptPassword asks at the terminal, without an echo.
func promptPassword(prompt string) (string, error) {
	fmt.Fprint(os.Stderr, prompt)
	text, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return string(text), nil
}

// consent is asked for before what cannot be undone.
type consent struct {
	Yes bool `name:"yes" short:"y" help:"Do not ask."`
}

// ask returns nil when the answer is the name of what is at stake.
func (c consent) ask(what, name string) error {
	if c.Yes {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usageError{errors.New("there is no terminal to ask at: confirm with --yes")}
	}
	fmt.Fprintf(os.Stderr, "Delete %s for good? Type %s to confirm: ", what, name)
	if typed, err := firstLine(os.Stdin); err != nil || typed != name {
		return errors.Join(errors.New("nothing was deleted"), err)
	}
	return nil
}

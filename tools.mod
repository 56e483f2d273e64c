module github.com/palisade-security/palisade/tools

go 1.26

#!/bin/sh
# Shouts. What it prints is JSON like its payload, so it is the result as it is; other text would be a string.
# Exit 75 would ask for another try.
tr '[:lower:]' '[:upper:]'

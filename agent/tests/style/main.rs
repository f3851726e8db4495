//! Architecture and house style, as far as a machine can judge them from the text of the source.

mod floors;
mod source;
mod tidy;

from .collapse import OutputEntropy, output_entropy

__all__ = ['OutputEntropy', 'output_entropy']
